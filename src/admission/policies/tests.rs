use super::*;

fn installation(undeletable: bool) -> Installation {
    Installation {
        user: "system:serviceaccount:hsm:operator".into(),
        namespace: "hsm".into(),
        undeletable,
        claims: vec!["store".into()],
        secrets: vec!["pins".into()],
    }
}

fn specs(undeletable: bool) -> Vec<ValidatingAdmissionPolicySpec> {
    let all = policies(&installation(undeletable));
    all.into_iter().filter_map(|policy| policy.spec).collect()
}

#[test]
fn sd34_no_policy_answers_what_gitops_tools_take_for_an_order_to_recreate() {
    for spec in specs(true) {
        for check in spec.validations.iter().flatten() {
            assert_eq!(check.reason.as_deref(), Some("Forbidden"), "403, never 422");
            let said = format!("{:?} {:?}", check.message, check.message_expression).to_lowercase();
            assert!(
                !said.contains("is immutable") && !said.contains("immutable field"),
                "{said}"
            );
        }
    }
}

#[test]
fn sd15_an_undeletable_cluster_has_two_policies_more() {
    let names = |undeletable| {
        let all = policies(&installation(undeletable));
        all.into_iter()
            .filter_map(|policy| policy.metadata.name)
            .collect::<Vec<_>>()
    };
    let more: Vec<_> = names(true)
        .into_iter()
        .filter(|name| !names(false).contains(name))
        .collect();
    assert_eq!(
        more,
        [
            "undeletable-hsms.managedhsm.dev",
            "undeletable-purges.managedhsm.dev"
        ]
    );
}

#[test]
fn sd32_an_exemption_names_this_operator_and_nobody_else() {
    for spec in specs(false) {
        for condition in spec
            .match_conditions
            .iter()
            .flatten()
            .filter(|one| one.name == "not-the-operator")
        {
            assert_eq!(
                condition.expression,
                "request.userInfo.username != 'system:serviceaccount:hsm:operator'"
            );
        }
    }
}

#[test]
fn sd23_policies_stand_since_the_last_of_them_was_written_and_any_difference_shows() {
    let of = installation(false);
    let time =
        |text: &str| k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(text.parse().unwrap());
    let made = |meta: &mut ObjectMeta| meta.creation_timestamp = Some(time("2026-03-01T00:00:00Z"));
    let mut found = policies(&of);
    let mut bound = bindings(&of);
    found.iter_mut().for_each(|one| made(&mut one.metadata));
    bound.iter_mut().for_each(|one| made(&mut one.metadata));
    bound[3].metadata.creation_timestamp = Some(time("2026-03-02T00:00:00Z"));
    let since = standing(&of, &found, &bound).unwrap();
    assert_eq!(since.to_rfc3339(), "2026-03-02T00:00:00+00:00");

    for at in 0..found.len() {
        let mut other = found.clone();
        let name = other[at].metadata.name.clone().unwrap();
        other[at].spec.as_mut().unwrap().failure_policy = Some("Ignore".into());
        assert_eq!(
            standing(&of, &other, &bound),
            Err(format!("ValidatingAdmissionPolicy {name}"))
        );
        other.remove(at);
        assert_eq!(
            standing(&of, &other, &bound),
            Err(format!("ValidatingAdmissionPolicy {name}"))
        );
        let mut loose = bound.clone();
        loose[at].spec.as_mut().unwrap().validation_actions = Some(vec!["Audit".into()]);
        assert_eq!(
            standing(&of, &found, &loose),
            Err(format!("ValidatingAdmissionPolicyBinding {name}"))
        );
    }
    let going = found.len() - 1;
    found[going].metadata.deletion_timestamp = Some(time("2026-03-03T00:00:00Z"));
    standing(&of, &found, &bound).unwrap_err();
    let other = Installation {
        user: "eve".into(),
        ..of
    };
    standing(&other, &found[..going], &bound).unwrap_err();
}
