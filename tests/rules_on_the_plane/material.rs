//! The same material: what was signed before is verified after, what was encrypted before is decrypted after; and never other material.

use std::time::Duration;

use kube::api::DynamicObject;
use managed_hsm_operator::backend::{BackendError, PublicKey, TokenLabel, Use};
use managed_hsm_operator::softdelete::Refusal;

use crate::scene::{
    EC, HSM, HSM_PROXY, KEY, KEY_PROXY, Scene, fingerprints, manifest, origin, uid,
};

const PLAIN: &[u8] = b"written before the deletion";

/// Name, what the spec says of the type, and what such a key does.
const TYPES: [(&str, &str, bool, bool); 7] = [
    ("rsa", "keyType: RSA, keySize: 2048", true, true),
    ("p256", "keyType: EC, curve: P-256", true, false),
    ("p384", "keyType: EC, curve: P-384", true, false),
    ("p521", "keyType: EC, curve: P-521", true, false),
    ("aes128", "keyType: oct, keySize: 128", false, true),
    ("aes192", "keyType: oct, keySize: 192", false, true),
    ("aes256", "keyType: oct, keySize: 256", false, true),
];

/// What one version did while the key was live.
struct Work {
    version: usize,
    signature: Option<Vec<u8>>,
    cipher: Option<Vec<u8>>,
}

fn digest() -> Vec<u8> {
    vec![0x5a; 32]
}

fn work(scene: &Scene, key: &DynamicObject, version: usize, signs: bool, encrypts: bool) -> Work {
    let use_key = |what| scene.use_key(key, version, what).expect("it works");
    Work {
        version,
        signature: signs.then(|| use_key(Use::Sign { digest: digest() })),
        cipher: encrypts.then(|| {
            use_key(Use::Encrypt {
                plain: PLAIN.to_vec(),
            })
        }),
    }
}

/// The public half of a version, as the status shows it.
fn public(key: &DynamicObject, version: usize) -> PublicKey {
    let shown = &key.data["status"]["versions"][version]["publicKey"];
    PublicKey::from_jwk(shown.as_object().expect("a JWK")).expect("a whole one")
}

/// EC signatures are real ones in the reference backend; what RSA signs is a function of the key and the digest.
fn still_good(scene: &Scene, key: &DynamicObject, done: &Work) {
    if let Some(signature) = &done.signature {
        match public(key, done.version) {
            ec @ PublicKey::Ec { .. } => assert!(ec.verifies(&digest(), signature)),
            PublicKey::Rsa { .. } => {
                let again = scene.use_key(key, done.version, Use::Sign { digest: digest() });
                assert_eq!(again.as_ref(), Ok(signature));
            }
        }
    }
    if let Some(cipher) = done.cipher.clone() {
        let plain = scene.use_key(key, done.version, Use::Decrypt { cipher });
        assert_eq!(plain, Ok(PLAIN.to_vec()));
    }
}

fn refuses(scene: &Scene, key: &DynamicObject, done: &Work) {
    let attempts = [
        Use::Sign { digest: digest() },
        Use::Encrypt {
            plain: PLAIN.to_vec(),
        },
        Use::Decrypt {
            cipher: done.cipher.clone().unwrap_or_default(),
        },
    ];
    for what in attempts {
        let answer = scene.use_key(key, done.version, what);
        assert_eq!(answer, Err(BackendError::Refused));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sd19_keys_of_every_type_come_back_with_the_same_material() {
    let scene = Scene::with_hsm("types", "{}").await;
    let all = TYPES.map(|(name, of, _, _)| {
        let spec = format!("{{hsm: safe, {of}}}");
        manifest("HsmKey", name, &spec)
    });
    scene.apply(&all.concat()).await;
    let mut before = Vec::new();
    for (name, _, signs, encrypts) in TYPES {
        let key = scene.ready(KEY, name).await;
        let done = work(&scene, &key, 0, signs, encrypts);
        still_good(&scene, &key, &done);
        before.push((name, key, done));
    }
    let names = TYPES.map(|(name, ..)| name);
    scene
        .kubectl(&[&["delete", "hsmkey"], names.as_slice()].concat(), "")
        .await
        .ok();
    for (name, key, done) in &before {
        refuses(&scene, key, done);
        let proxy = scene.retained(KEY_PROXY, name).await;
        assert_eq!(fingerprints(&proxy), fingerprints(key), "{name}");
        scene.ask_back(name, "HsmKey", name, &uid(key)).await;
    }
    for (name, key, done) in &before {
        scene.gone(KEY_PROXY, name).await;
        let back = scene.ready(KEY, name).await;
        assert_ne!(uid(&back), uid(key));
        assert_eq!(
            back.data["status"]["versions"], key.data["status"]["versions"],
            "{name}"
        );
        still_good(&scene, &back, done);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sd19_all_versions_of_a_rotated_key_are_deleted_and_recovered_as_one() {
    let scene = Scene::with_hsm("rotated", "{}").await;
    let aes = |versions: u8| {
        let spec = format!("{{hsm: safe, keyType: oct, keySize: 256, versions: {versions}}}");
        manifest("HsmKey", "box", &spec)
    };
    scene.apply(&aes(1)).await;
    let first = scene.ready(KEY, "box").await;
    assert_eq!(first.data["status"]["currentVersion"], 1);
    scene.apply(&aes(2)).await;
    let both = scene
        .seen(KEY, "box", "two versions", |found| {
            found.data["status"]["currentVersion"] == 2
        })
        .await;
    let shown = fingerprints(&both);
    assert_eq!(shown.len(), 2);
    assert_eq!(shown[0], fingerprints(&first)[0], "the first is kept");
    assert_ne!(shown[0], shown[1]);
    let done = [0, 1].map(|version| work(&scene, &both, version, false, true));

    let proxy = scene.deleted(KEY, "box").await;
    assert_eq!(fingerprints(&proxy), shown);
    done.iter().for_each(|done| refuses(&scene, &both, done));
    let back = scene.recovered(KEY, "box", &origin(&proxy)).await;
    assert_eq!(fingerprints(&back), shown);
    assert_eq!(back.data["status"]["currentVersion"], 2);
    done.iter().for_each(|done| still_good(&scene, &back, done));

    // A lower floor than there are versions does nothing.
    scene.apply(&aes(1)).await;
    let same = scene.ready(KEY, "box").await;
    assert_eq!(fingerprints(&same), shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn sd28_an_object_whose_status_was_wiped_keeps_its_material() {
    let scene = Scene::with_key("wiped").await;
    let before = scene.ready(KEY, "signing").await;
    let wipe = r#"[{"op":"replace","path":"/status","value":{"observedGeneration":-1}}]"#;
    for (plural, name) in [("hsmkey", "signing"), ("managedhsm", "safe")] {
        let patch = [
            "patch",
            plural,
            name,
            "--subresource=status",
            "--type=json",
            "-p",
            wipe,
        ];
        scene.kubectl(&patch, "").await.ok();
    }
    let after = scene.ready(KEY, "signing").await;
    let mut shown = after.data["status"].clone();
    let mut then = before.data["status"].clone();
    for status in [&mut shown, &mut then] {
        // A condition that was wiped begins anew.
        status["conditions"] = "left out".into();
    }
    assert_eq!(shown, then);
    assert_eq!(scene.signs(&after), Ok(()));
    scene.ready(HSM, "safe").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sd28_what_its_store_has_lost_stands_and_deleting_it_makes_a_proxy_and_lets_go() {
    let scene = Scene::with_key("lost").await;
    let hsm = scene.ready(HSM, "safe").await;
    let label = hsm.data["status"]["hsmId"].as_str().expect("an id");
    scene.backend.lose_token(&TokenLabel(label.to_owned()));
    let nudge = [
        "annotate",
        "managedhsm/safe",
        "hsmkey/signing",
        "look=again",
    ];
    scene.kubectl(&nudge, "").await.ok();
    let missing = Refusal::MaterialMissing {
        backend: "default".into(),
    };
    for of in [HSM, KEY] {
        let name = if of == HSM { "safe" } else { "signing" };
        let sentence = scene.stalled(of, name, "MaterialMissing").await;
        assert_eq!(sentence, missing.to_string());
    }
    scene
        .kubectl(&["delete", "hsmkey/signing", "managedhsm/safe"], "")
        .await
        .ok();
    for (of, proxy, name) in [(HSM, HSM_PROXY, "safe"), (KEY, KEY_PROXY, "signing")] {
        assert_eq!(scene.get(of, name).await, None, "it let go");
        scene.get(proxy, name).await.expect("its proxy");
    }
    // Nothing new takes its place.
    scene.apply(&manifest("ManagedHsm", "safe", "{}")).await;
    scene
        .stalled(HSM, "safe", "ObjectIsDeletedButRecoverable")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sd28_a_backend_that_is_not_configured_is_waited_for_by_name() {
    let scene = Scene::empty("elsewhere").await;
    let both =
        manifest("ManagedHsm", "safe", "{backend: attic}") + &manifest("HsmKey", "in-it", EC);
    scene.apply(&both).await;
    let sentence = scene.stalled(HSM, "safe", "BackendUnknown").await;
    let refusal = Refusal::BackendUnknown {
        backend: "attic".into(),
    };
    assert_eq!(sentence, refusal.to_string());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let key = scene.get(KEY, "in-it").await.expect("it stands");
    assert!(key.data["status"]["versions"].is_null(), "{key:?}");
    scene
        .kubectl(&["delete", "hsmkey/in-it", "managedhsm/safe"], "")
        .await
        .ok();
    assert_eq!(scene.get(HSM_PROXY, "safe").await, None);
    assert_eq!(scene.get(KEY_PROXY, "in-it").await, None);
}
