use super::*;

const BOTH: &str = "
- name: default
  kind: embedded
  slots: 12
  allowedNamespaces: {selector: {matchLabels: {hsm: allowed}}}
- name: rack
  kind: pkcs11
  module: /usr/lib/softhsm/libsofthsm2.so
  pins: {soPinFile: /pins/so, userPinFile: /pins/user}
  ledgerToken: records
  allowedNamespaces: {names: [team-a, team-b]}
  maxHsmsPerNamespace: 2
  maxKeysPerHsm: 50
";

#[test]
fn a_full_file_is_understood_and_defaults_are_filled_in() {
    let backends = parse(BOTH).expect("good");
    assert_eq!(backends.len(), 2);
    assert_eq!(
        (backends[0].max_keys_per_hsm, &backends[0].store),
        (
            1000,
            &Store::Embedded {
                slots: 12,
                pins: None
            }
        )
    );
    assert_eq!(
        backends[1].store,
        Store::Pkcs11(Module {
            library: "/usr/lib/softhsm/libsofthsm2.so".into(),
            pins: PinFiles {
                so_pin_file: "/pins/so".into(),
                user_pin_file: "/pins/user".into()
            },
            one_at_a_time: true,
            ledger_token: "records".into(),
            scratch_token: "managed-hsm-scratch".into(),
            tokens: None,
        })
    );
    assert_eq!(
        (
            backends[1].max_hsms_per_namespace,
            backends[1].max_keys_per_hsm
        ),
        (Some(2), 50)
    );
    assert_eq!(
        built_in()[0].store,
        Store::Embedded {
            slots: 256,
            pins: None
        }
    );
}

/// The YAML in a text, from its first line that begins so to the first that is not indented.
fn example(text: &str, first: &str) -> String {
    let from = text.find(first).expect("the example");
    let lines = text[from..].lines().enumerate();
    let of_it = |(number, line): &(usize, &str)| *number == 0 || line.starts_with([' ', '-']);
    lines
        .take_while(of_it)
        .map(|(_, line)| format!("{line}\n"))
        .collect()
}

#[test]
fn the_examples_that_people_are_shown_are_right() {
    let page = include_str!("../../../docs/backends.md");
    let help = include_str!("../args.rs");
    for text in [
        example(page, "- name: default"),
        example(help, "  - name: default"),
    ] {
        let backends = parse(&text).expect(&text);
        assert_eq!(backends.len(), 2, "{text}");
        assert!(matches!(backends[1].store, Store::Pkcs11(_)));
    }
}

#[test]
fn namespaces_are_allowed_by_name_or_by_label_or_all() {
    let backends = parse(BOTH).expect("good");
    let labels = |value: &str| BTreeMap::from([("hsm".to_owned(), value.to_owned())]);
    assert!(
        backends[0]
            .allowed_namespaces
            .allows("any", &labels("allowed"))
    );
    assert!(!backends[0].allowed_namespaces.allows("any", &labels("no")));
    assert!(
        backends[1]
            .allowed_namespaces
            .allows("team-a", &labels("no"))
    );
    assert!(
        !backends[1]
            .allowed_namespaces
            .allows("team-c", &labels("allowed"))
    );
    assert!(
        built_in()[0]
            .allowed_namespaces
            .allows("any", &BTreeMap::new())
    );
}

#[test]
fn every_mistake_is_one_sentence_with_its_way_out() {
    for (text, expected) in [
        ("[]", "it lists no backend; list one"),
        (
            "- {name: a, kind: embedded, modul: /x}",
            "unknown field `modul`",
        ),
        ("- {name: a, kind: cloud}", "unknown variant `cloud`"),
        (
            "- {name: A_b, kind: embedded}",
            "\"A_b\" is no DNS label; use",
        ),
        (
            "- {name: a, kind: embedded, module: /x}",
            "takes no module; leave it out",
        ),
        (
            "- {name: a, kind: embedded, tokens: [b]}",
            "takes no tokens; leave it out",
        ),
        (
            "- {name: a, kind: pkcs11, module: /x, pins: {soPinFile: /s, userPinFile: /u}}",
            "and ledgerToken (the label",
        ),
        (
            "- {name: a, kind: pkcs11, module: /x, pins: {soPinFile: /s, userPinFile: /u}, ledgerToken: l, tokens: [b]}",
            "so it needs scratchToken",
        ),
        (
            "- {name: a, kind: pkcs11, module: /x, pins: {soPinFile: /s, userPinFile: /u}, ledgerToken: l, scratchToken: s, tokens: [b, l]}",
            "\"l\" is named twice; give each",
        ),
        (
            "- {name: a, kind: pkcs11, module: /x, pins: {soPinFile: /s, userPinFile: /u}, ledgerToken: 'a label of more than 32 characters'}",
            "is no label of a token; write",
        ),
        (
            "- {name: a, kind: pkcs11, module: /x, pins: {soPinFile: /s, userPinFile: /u}, ledgerToken: 0123456789abcdef0123456789abcdef}",
            "looks like one that the operator gives",
        ),
        (
            "- {name: a, kind: pkcs11, module: /x, pins: {soPinFile: /s, userPinFile: /u}, ledgerToken: l}\n- {name: b, kind: pkcs11, module: /x, pins: {soPinFile: /s, userPinFile: /u}, ledgerToken: m}",
            "stands twice, and a process opens each once",
        ),
        (
            "- {name: a, kind: pkcs11, module: /x}",
            "needs module (the library's path), pins",
        ),
        (
            "- {name: a, kind: pkcs11, module: x.so, pins: {soPinFile: /s, userPinFile: /u}, ledgerToken: l}",
            "is no absolute path; write",
        ),
        (
            "- {name: a, kind: pkcs11, module: /x, pins: {soPinFile: /s, userPinFile: /u}, slots: 3}",
            "takes no slots",
        ),
        ("- {name: a, kind: embedded, slots: 0}", "slots is 0"),
        (
            "- {name: a, kind: embedded, maxKeysPerHsm: 0}",
            "maxKeysPerHsm is 0",
        ),
        (
            "- {name: a, kind: embedded, maxHsmsPerNamespace: 0}",
            "maxHsmsPerNamespace is 0",
        ),
        (
            "- {name: a, kind: embedded, allowedNamespaces: {}}",
            "either names or selector; leave it out",
        ),
        (
            "- {name: a, kind: embedded, allowedNamespaces: {selector: {matchExpressions: [{key: a, operator: Near}]}}}",
            "is not understood",
        ),
        (
            "- {name: a, kind: embedded, allowedNamespaces: {selector: {matchLabel: {hsm: x}}}}",
            "says nothing, so it would allow all; write",
        ),
        (
            "- {name: a, kind: embedded}\n- {name: b, kind: embedded}",
            "more than one embedded backend",
        ),
        (
            "- {name: a, kind: embedded}\n- {name: a, kind: embedded}",
            "stands twice; give each its own",
        ),
    ] {
        let error = parse(text).expect_err(text);
        assert!(error.contains(expected), "{text}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = load(Path::new("/nowhere/backends.yaml")).expect_err("it is not there");
    assert!(
        error.starts_with("the backends file /nowhere/backends.yaml cannot be read"),
        "{error}"
    );
}
