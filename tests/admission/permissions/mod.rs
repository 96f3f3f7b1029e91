//! Who may do what, tried: each subject and each act, by asking the API server (a SelfSubjectAccessReview) and by doing it. What is expected
//! comes from the roles as they are installed and from SD-29 to SD-33 as functions; the page is what came out.

mod acts;
mod examples;
mod page;
mod rows;
mod subjects;

use futures::StreamExt as _;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec,
};
use kube::Client;
use kube::api::{Api, DeleteParams, PostParams};
use managed_hsm_operator::controller::cluster::Watched;
use serde_json::json;

use super::scene::{KEY, Scene, object};
use crate::guarded_plane;
use acts::{Act, Answer, Done};
use subjects::Subject;

/// How many subjects ask at a time.
const AT_ONCE: usize = 8;

/// What RBAC says of it, asked by himself. Who is nobody may not even ask, so that it is asked of him.
async fn review(scene: &Scene, subject: &Subject, act: &Act) -> bool {
    let (resource, below) = act.resource_and_below();
    let attributes = ResourceAttributes {
        group: Some("managedhsm.dev".into()),
        resource: Some(resource.into()),
        subresource: below.map(str::to_owned),
        verb: Some(act.verb.into()),
        namespace: act.asked_in_namespace().then(|| scene.namespace.clone()),
        ..ResourceAttributes::default()
    };
    let parameters = PostParams::default();
    let status = if subject.is_nobody() {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(subject.user.clone()),
                groups: Some(vec!["system:unauthenticated".into()]),
                resource_attributes: Some(attributes),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let all = Api::<SubjectAccessReview>::all(scene.admin.clone());
        all.create(&parameters, &review)
            .await
            .expect("an answer")
            .status
    } else {
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(attributes),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let all = Api::<SelfSubjectAccessReview>::all(subject.client.clone());
        all.create(&parameters, &review)
            .await
            .expect("an answer")
            .status
    };
    status.expect("a status").allowed
}

/// One row of the table as one subject finds it, and what was otherwise than expected.
async fn cell(scene: &Scene, subject: &Subject, act: &Act) -> (Answer, Option<String>) {
    let expected = act.expected(subject);
    let may = review(scene, subject, act).await;
    let told = format!("{} {} {} {}", subject.name, act.verb, act.resource, act.how);
    if may == matches!(expected, Answer::NotByRole) {
        let wrong = format!("{told}: the review says {may}, expected {expected:?}");
        return (expected, Some(wrong));
    }
    let done = act.done(subject).await;
    let wrong = expected.differs(&done);
    (
        expected,
        wrong.map(|why| format!("{told}: {why}, but {done:?}")),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn sd29_the_table_of_permissions_is_what_the_server_answers() {
    let plane = guarded_plane().await;
    let scene = Scene::of(plane, "permissions").await;
    let subjects = subjects::all(plane, &scene).await;
    let acts = rows::all(&scene).await;
    let column = async |subject: &Subject| {
        let mut cells = Vec::new();
        for act in &acts {
            cells.push(cell(&scene, subject, act).await);
        }
        cells
    };
    let columns = futures::stream::iter(&subjects).map(column);
    let columns: Vec<Vec<_>> = columns.buffered(AT_ONCE).collect().await;
    let wrong: Vec<_> = columns
        .iter()
        .flatten()
        .filter_map(|(_, wrong)| wrong.as_ref())
        .collect();
    assert!(wrong.is_empty(), "{} differ: {wrong:#?}", wrong.len());
    let columns: Vec<Vec<Answer>> = columns
        .into_iter()
        .map(|column| column.into_iter().map(|(answer, _)| answer).collect())
        .collect();
    testplane::is_current("permissions.md", &page::page(&subjects, &acts, &columns));
}

/// Without dry-run: what was allowed is there or gone, and what was refused is not.
#[tokio::test(flavor = "multi_thread")]
async fn sd29_what_each_may_create_delete_recover_and_purge_he_does() {
    let plane = guarded_plane().await;
    let scene = Scene::of(plane, "permitted").await;
    let subjects = subjects::all(plane, &scene).await;
    for (number, subject) in subjects.iter().enumerate() {
        let doomed = format!("doomed-{number}");
        scene.key(&doomed).await;
        let name = format!("by-{number}");
        let purge = format!("{}-{name}", scene.namespace);
        let key = json!({"spec": {"hsm": "payments", "keyType": "EC", "curve": "P-256"}});
        let recover = json!({"spec": {"kind": "HsmKey", "name": "gone", "uid": "u-gone"}});
        let asked = json!({"spec": {"kind": "DeletedHsmKey", "name": scene.proxy("gone"), "uid": "u-gone", "requestedBy": subject.user}});
        for (of, name, spec) in [
            (KEY, name.as_str(), key),
            (Watched::Recover, name.as_str(), recover),
            (Watched::Purge, purge.as_str(), asked),
        ] {
            let made = create(&scene, &subject.client, of, name, spec).await;
            let there = scene.api(&scene.admin, of).get_opt(name).await;
            assert_eq!(there.expect("a GET").is_some(), made, "{}", subject.name);
            let plural = of.resource().plural;
            let may = acts::may_create(&scene, subject, of);
            assert_eq!(made, may, "{} create {plural}", subject.name);
        }
        let parameters = DeleteParams::default();
        let keys = scene.api(&subject.client, KEY);
        let deleted = keys.delete(&doomed, &parameters).await.is_ok();
        let there = scene.api(&scene.admin, KEY).get_opt(&doomed).await;
        assert_eq!(there.expect("a GET").is_none(), deleted);
        assert_eq!(deleted, subject.may("delete", "hsmkeys", true));
    }
}

async fn create(
    scene: &Scene,
    by: &Client,
    of: Watched,
    name: &str,
    data: serde_json::Value,
) -> bool {
    let made = object(of, name, data);
    match scene
        .api(by, of)
        .create(&PostParams::default(), &made)
        .await
    {
        Ok(_) => true,
        Err(kube::Error::Api(status)) if status.code == 403 => false,
        other => panic!("{other:?}"),
    }
}

impl Answer {
    /// In which way what came out is another one.
    fn differs(&self, done: &Done) -> Option<String> {
        let same = match (self, done) {
            (_, Done::NothingToDo) | (Self::Allowed, Done::Well) => true,
            (Self::NotByRole, Done::Refused(code, said)) => {
                *code == 403 && !said.contains("ValidatingAdmissionPolicy")
            }
            (Self::NotByPolicy { sentence, .. }, Done::Refused(403, said)) => {
                said.contains(sentence) && said.contains("ValidatingAdmissionPolicy")
            }
            (Self::NoSuch, Done::Refused(404, _)) => true,
            _ => false,
        };
        (!same).then(|| format!("expected {self:?}"))
    }
}
