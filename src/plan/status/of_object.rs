//! A ManagedHsm's or HsmKey's status.

use super::*;

/// The object's status where it differs: as it should be, or what holds it.
pub fn object(o: &Observed, life: &Result<(), &Hold>) -> Option<Step> {
    let object = o.object.as_ref()?;
    let word = match life {
        Err(hold) => held(object, hold),
        Ok(()) if object.meta.deleted.is_some() && object.meta.finalizer() => return None,
        Ok(()) if object.meta.deleted.is_some() => Word {
            ready: ConditionStatus::False,
            ..Word::progressing(
                "It is deleted and can be used no more; it goes when its last finalizer, which is somebody else's, is taken off.",
            )
        },
        Ok(()) => Word::ready("It has its material and can be used."),
    };
    let told = told(&word, old_conditions(object), Whom::Object);
    let effect = match &object.body {
        Body::Hsm(_, shown) => hsm(o, object, shown, &word)
            .map(|next| Effect::ShowHsm(At::of(&object.meta), Box::new(next))),
        Body::Key(_, shown) => key(o, object, shown, &word)
            .map(|next| Effect::ShowKey(At::of(&object.meta), Box::new(next))),
    }?;
    Some(Step {
        effect,
        tells: told,
    })
}

fn held(object: &Object, hold: &Hold) -> Word {
    let word = Word::held(hold);
    let Why::Refused(refusal) = &hold.why else {
        return word;
    };
    let stalled = stands_still(translate::create_mode(object), refusal);
    Word {
        reconciling: !stalled,
        stalled,
        ..word
    }
}

fn old_conditions(object: &Object) -> &[Condition] {
    match &object.body {
        Body::Hsm(_, shown) => &shown.conditions,
        Body::Key(_, shown) => &shown.conditions,
    }
}

/// What a status says of a record is what an object once had (SD-28): nothing while it is being made, and nothing of a record in
/// doubt, since the generation that is shown is what finds an old store out.
fn own<'a>(o: &'a Observed, object: &Object) -> Option<(&'a Held, &'a Record)> {
    o.record_of(&object.meta.uid)
        .filter(|(held, record)| !held.is_final() && record.state != RecordState::Creating)
        .filter(|_| hold::unreadable(o).is_ok())
}

fn hsm(
    o: &Observed,
    object: &Object,
    shown: &api::ManagedHsmStatus,
    word: &Word,
) -> Option<api::ManagedHsmStatus> {
    let mut next = shown.clone();
    next.observed_generation = object.meta.generation;
    word.on(&mut next.conditions, object.meta.generation, o);
    if let Some((held, record)) = own(o, object) {
        seal(o, object, &mut next.conditions);
        next.hsm_id = Some(record.id.0.clone());
        // What it shows it promises: its protection, and the record that says so, only where no key's purge can break it any more.
        if hold::protection_not_shown(o, held, object).is_ok() {
            next.record_generation = i64::try_from(held.generation).ok();
            next.recovery_level = Some(level(o, record));
        }
        next.keys = Some(count(o, |key| key.record.state == RecordState::Live));
        next.deleted_keys = Some(count(o, |key| {
            matches!(
                key.record.state,
                RecordState::Sealing | RecordState::Deleted
            )
        }));
    }
    (next != *shown).then_some(next)
}

/// What the seal of an object with material rests on, where that is not the module itself. It hinders nothing.
fn seal(o: &Observed, object: &Object, conditions: &mut Vec<Condition>) {
    let Some(assurance) = o.terms.assurance else {
        return;
    };
    let (by_module, cannot) = match &object.body {
        Body::Hsm(..) => (
            assurance.seals_hsms,
            "give a token a PIN that nobody has (C_InitPIN by its SO)",
        ),
        Body::Key(..) => (
            assurance.seals_keys,
            "make of a key a copy that refuses its use (C_CopyObject)",
        ),
    };
    if by_module {
        return conditions::remove(conditions, WEAK_SEAL);
    }
    let message = format!(
        "The module of the backend {} was tried, and cannot {cannot}: while this is deleted the operator alone refuses its use, so keep the module's PINs from everybody else, or use another backend.",
        o.backend
    );
    let generation = Some(object.meta.generation);
    let weak = ConditionState::new(
        WEAK_SEAL,
        ConditionStatus::True,
        "SealedByOperatorOnly",
        message,
        generation,
    );
    conditions::set(conditions, weak, o.now.into());
}

fn count(o: &Observed, which: impl Fn(&&crate::plan::observed::KeyOfHsm) -> bool) -> i32 {
    i32::try_from(o.keys.iter().filter(which).count()).unwrap_or(i32::MAX)
}

fn key(
    o: &Observed,
    object: &Object,
    shown: &api::HsmKeyStatus,
    word: &Word,
) -> Option<api::HsmKeyStatus> {
    let mut next = shown.clone();
    next.observed_generation = object.meta.generation;
    word.on(&mut next.conditions, object.meta.generation, o);
    if let Some((held, record)) = own(o, object)
        && let Subject::Key { hsm, versions, .. } = &record.subject
    {
        seal(o, object, &mut next.conditions);
        next.hsm_id = Some(hsm.0.clone());
        next.record_generation = i64::try_from(held.generation).ok();
        if may_show_protection(o, record) {
            next.recovery_level = Some(level(o, record));
        }
        next.versions = versions
            .iter()
            .map(|version| shown_version(o, shown, version))
            .collect();
        next.current_version = versions.iter().map(|version| version.number).max();
    }
    (next != *shown).then_some(next)
}

/// A key's own protection is first shown when its HSM's record, read after it was written, is *live* (SD-13).
fn may_show_protection(o: &Observed, record: &Record) -> bool {
    let hsm = o.hsm.as_ref().and_then(|hsm| hsm.record.as_ref());
    let hsm = hsm.map(|(_, hsm)| (hsm.state, hold::deleted(o, hsm)));
    let look = ProtectionLook {
        record: record.state,
        deleted: &hold::deleted(o, record),
        hsm: hsm.as_ref().map(|(state, hsm)| (*state, hsm)),
    };
    !record.purge_protection || may_protect(&look).is_ok()
}

fn shown_version(o: &Observed, shown: &api::HsmKeyStatus, version: &Version) -> api::KeyVersion {
    let before = shown
        .versions
        .iter()
        .find(|before| before.material_id == version.material.0);
    let (thumbprint, check_value) = translate::shown_fingerprint(&version.fingerprint);
    let public_key =
        public_key(o, version).or_else(|| before.and_then(|before| before.public_key.clone()));
    api::KeyVersion {
        id: version.number,
        created_at: version.created.into(),
        material_id: version.material.0.clone(),
        public_key,
        thumbprint,
        check_value,
    }
}

/// The public half as the token shows it, if it is the recorded one.
fn public_key(o: &Observed, version: &Version) -> Option<api::PublicKey> {
    let Material::Objects(found) = &o.material else {
        return None;
    };
    found
        .iter()
        .filter(|object| object.id.to_string() == version.material.0)
        .filter_map(|object| object.public.as_ref())
        .find(|public| public.fingerprint().to_string() == version.fingerprint.0)
        .and_then(translate::jwk)
}
