use serde_json::json;

use super::*;
use crate::softdelete::Refusal;

fn request() -> Request {
    let text = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "review-1", "kind": {"group": "g", "version": "v1", "kind": "K"},
        "resource": {"group": "g", "version": "v1", "resource": "ks"}, "name": "it", "operation": "DELETE",
        "userInfo": {}, "object": null, "oldObject": {"metadata": {"name": "it"}}}});
    read(text.to_string().as_bytes()).expect("a review")
}

#[test]
fn a_refusal_is_a_403_with_the_sentence_and_nothing_else() {
    let answer = written(&request(), Advice::refused(Refusal::SoftDeleteRequired));
    let answer = serde_json::to_value(answer.into_review()).expect("JSON");
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(answer["kind"], "AdmissionReview");
    let response = &answer["response"];
    assert_eq!(
        (&response["uid"], &response["allowed"]),
        (&json!("review-1"), &json!(false))
    );
    assert_eq!(response["status"]["code"], 403);
    assert_eq!(response["status"]["reason"], "Forbidden");
    assert_eq!(
        response["status"]["message"],
        Refusal::SoftDeleteRequired.to_string()
    );
    assert!(response.get("warnings").is_none());
}

#[test]
fn what_is_told_is_allowed() {
    let answer = written(&request(), Advice::warned(["so it is".to_owned()]));
    let answer = serde_json::to_value(answer.into_review()).expect("JSON");
    assert_eq!(answer["response"]["allowed"], true);
    assert_eq!(answer["response"]["warnings"], json!(["so it is"]));
    let silent = serde_json::to_value(written(&request(), Advice::default()).into_review());
    assert_eq!(silent.expect("JSON")["response"].get("warnings"), None);
}
