//! The table of sequences: each state × each act, run by the real planner in the world without a cluster until it comes to rest.

use chrono::Duration;
use managed_hsm_operator::api;
use managed_hsm_operator::backend::Access;
use managed_hsm_operator::plan::observed::{Body, Object, Purge, Recover};
use managed_hsm_operator::plan::{Lineage, ids, plan};
use managed_hsm_operator::softdelete::{Kind, Record, RecordState, Uid};
use serde_json::json;

use super::domain;
use super::rows::{
    self, ANOTHER_UID, Act, Cells, HSM, KEY, NAMESPACE, NOBODYS_UID, ServerSays, State, THEIRS,
    TWIN,
};
use super::world::{MOST_STEPS, World, lineage_of};

pub fn lineage(kind: Kind) -> Lineage {
    Lineage::new(kind, NAMESPACE, rows::name(kind))
}

pub fn hsm() -> Lineage {
    lineage(Kind::Hsm)
}

// ---- what people and the cluster do ----

pub fn create(
    world: &mut World,
    of: &Lineage,
    uid: &str,
    change: impl Fn(&mut Body),
) -> Result<(), String> {
    if world.objects.contains_key(of) {
        return Err(ServerSays::Taken.said().into());
    }
    if world
        .namespace
        .as_ref()
        .is_none_or(|space| space.terminating)
    {
        return Err(ServerSays::NamespaceGoing.said().into());
    }
    let mut body = match of.kind {
        Kind::Hsm => Body::Hsm(api::ManagedHsmSpec::default(), Default::default()),
        Kind::Key => {
            let spec = api::HsmKeySpec::new(HSM, api::KeyType::Ec, None, Some(api::Curve::P256));
            Body::Key(spec, Default::default())
        }
    };
    change(&mut body);
    let spec = match &body {
        Body::Hsm(spec, _) => json!(spec),
        Body::Key(spec, _) => json!(spec),
    };
    let snapshot = api::Snapshot {
        api_version: format!("{}/{}", api::GROUP, api::VERSION),
        labels: Default::default(),
        annotations: Default::default(),
        spec,
        managed_fields: json!([{"manager": "kubectl", "apiVersion": format!("{}/{}", api::GROUP, api::VERSION)}]),
    };
    let meta = world.meta(&of.name, uid.into());
    world.objects.insert(
        of.clone(),
        Object {
            meta,
            body,
            snapshot,
        },
    );
    Ok(())
}

pub fn delete(world: &mut World, of: &Lineage) -> Result<(), String> {
    let now = world.now;
    let object = world
        .objects
        .get_mut(of)
        .ok_or(ServerSays::NotThere.said())?;
    object.meta.deleted.get_or_insert(now);
    if object.meta.finalizers.is_empty() {
        world.objects.remove(of);
    }
    Ok(())
}

pub fn recover(world: &mut World, of: &Lineage, uid: &str, include_keys: api::IncludeKeys) {
    let name = format!("recover-{}", of.name);
    let meta = world.meta(&name, format!("uid-{name}"));
    let spec = api::RecoverSpec {
        kind: match of.kind {
            Kind::Hsm => api::ObjectKind::ManagedHsm,
            Kind::Key => api::ObjectKind::HsmKey,
        },
        name: of.name.clone(),
        uid: uid.into(),
        include_keys,
        accept_namespace_uid: None,
    };
    let status = api::RecoverStatus::default();
    world.recovers.insert(name, Recover { meta, spec, status });
}

pub fn purge(world: &mut World, of: &Lineage, uid: &str) {
    let name = format!("purge-{}", of.name);
    let meta = world.meta(&name, format!("uid-{name}"));
    let spec = api::PurgeSpec {
        kind: match of.kind {
            Kind::Hsm => api::ProxyKind::DeletedManagedHsm,
            Kind::Key => api::ProxyKind::DeletedHsmKey,
        },
        name: managed_hsm_operator::softdelete::names::proxy_name(&of.namespace, &of.name),
        uid: uid.into(),
        requested_by: "ann".into(),
        reason: None,
    };
    let status = api::PurgeStatus::default();
    world.purges.insert(name, Purge { meta, spec, status });
}

/// The uid that the record names now: that of the live or deleted object.
pub fn uid_now(world: &World, of: &Lineage) -> String {
    let mut records = world.ledger.values().map(|(_, record)| record);
    let its = records.find(|record| lineage_of(record) == *of);
    let waiting = || world.objects.get(of).map(|object| object.meta.uid.clone());
    its.map(|record| record.origin.uid.clone())
        .or_else(waiting)
        .map_or_else(|| NOBODYS_UID.into(), |uid| uid.0)
}

fn record_becomes(world: &mut World, of: &Lineage, state: RecordState) {
    for (generation, record) in world.ledger.values_mut() {
        if lineage_of(record) == *of {
            record.state = state;
            *generation += 1;
        }
    }
}

// ---- states and acts ----

/// The world in which the object of that kind is in that state.
pub fn begin(kind: Kind, state: State) -> Result<World, String> {
    let mut world = World::new(domain::now(), domain::settings());
    let of = lineage(kind);
    let uid = format!("{}-1", of.name);
    if kind == Kind::Key && state != State::WaitingForHsm {
        create(&mut world, &hsm(), "prod-1", |_| ())?;
        world.settle()?;
    }
    if state == State::WaitingForDeletedHsm {
        delete(&mut world, &hsm())?;
        world.settle()?;
    }
    create(&mut world, &of, &uid, |_| ())?;
    world.settle()?;
    world.now += Duration::hours(1);
    match state {
        State::WaitingForHsm | State::WaitingForDeletedHsm | State::Active => {}
        State::Terminating => {
            if let Some(object) = world.objects.get_mut(&of) {
                object.meta.finalizers.push(THEIRS.into());
            }
            delete(&mut world, &of)?;
        }
        State::WaitingForName => {
            delete(&mut world, &of)?;
            world.settle()?;
            create(&mut world, &of, &format!("{}-2", of.name), |_| ())?;
        }
        State::Retained => delete(&mut world, &of)?,
        State::Recovering => {
            delete(&mut world, &of)?;
            world.settle()?;
            recover(&mut world, &of, &uid, api::IncludeKeys::None);
            return half_recovered(world, &of);
        }
        State::Destroying => {
            delete(&mut world, &of)?;
            world.settle()?;
            record_becomes(&mut world, &of, RecordState::Destroying);
            if let Some(found) = world.proxies.get_mut(&of) {
                found.status.phase = Some(api::Phase::Destroying);
            }
            return Ok(world);
        }
        State::MaterialMissing => lose(&mut world, &of),
    }
    world.settle()?;
    Ok(world)
}

/// Stopped after the proxy named the new object: what a crash there leaves.
fn half_recovered(mut world: World, of: &Lineage) -> Result<World, String> {
    for _ in 0..MOST_STEPS {
        let named = world.proxies.get(of).is_some_and(|found| {
            let by = found.status.recovering.as_ref();
            by.is_some_and(|by| by.new_uid.is_some())
        });
        if named {
            return Ok(world);
        }
        world.step(of);
    }
    Err("the recovery never names its object".into())
}

fn lose(world: &mut World, of: &Lineage) {
    match of.kind {
        Kind::Hsm => world.tokens.clear(),
        Kind::Key => world
            .tokens
            .values_mut()
            .for_each(|(_, objects)| objects.clear()),
    }
}

/// Does it. Err: the API server, or the lack of anything to do it to, says no.
pub fn act(world: &mut World, kind: Kind, act: Act) -> Result<(), String> {
    let of = lineage(kind);
    let uid = uid_now(world, &of);
    match act {
        Act::Nothing => {}
        Act::Create => create(world, &of, &format!("{}-3", of.name), |_| ())?,
        Act::CreateTwin => {
            let twin = Lineage::new(Kind::Key, NAMESPACE, TWIN);
            create(world, &twin, "twin-1", |body| {
                if let Body::Key(spec, _) = body {
                    spec.key_name = Some(KEY.to_uppercase());
                }
            })?;
        }
        Act::Delete => delete(world, &of)?,
        Act::Recover => recover(world, &of, &uid, api::IncludeKeys::None),
        Act::RecoverOther => recover(world, &of, ANOTHER_UID, api::IncludeKeys::None),
        Act::CreateOrRecover => create(world, &of, &format!("{}-3", of.name), |body| match body {
            Body::Hsm(spec, _) => spec.create_mode = api::CreateMode::CreateOrRecover,
            Body::Key(spec, _) => spec.create_mode = api::CreateMode::CreateOrRecover,
        })?,
        Act::Purge => purge(world, &of, &uid),
        Act::DeleteHsm | Act::RecoverHsm | Act::RecoverHsmWithKeys | Act::PurgeHsm => {
            around(world, act)?;
        }
        Act::HsmGone | Act::HsmAnew => {
            if world.objects.contains_key(&hsm()) {
                delete(world, &hsm())?;
                world.settle()?;
            }
            record_becomes(world, &hsm(), RecordState::Tombstone);
            // Its keys' proxies go first, then its own.
            world.proxies.clear();
            world.tokens.clear();
            if act == Act::HsmAnew {
                world.settle()?;
                if world.objects.contains_key(&of) {
                    delete(world, &of)?;
                    world.settle()?;
                }
                create(world, &hsm(), "prod-3", |_| ())?;
                create(world, &of, &format!("{}-3", of.name), |_| ())?;
            }
        }
        Act::DeleteNamespace => return end_namespace(world),
        Act::RetentionOver => {
            for _ in 0..91 {
                world.now += Duration::days(1);
                world.settle()?;
            }
        }
    }
    world.settle().map(drop)
}

fn around(world: &mut World, act: Act) -> Result<(), String> {
    let uid = uid_now(world, &hsm());
    if world.objects.contains_key(&hsm()) {
        delete(world, &hsm())?;
        world.settle()?;
    } else if act == Act::DeleteHsm {
        return Err(ServerSays::NotThere.said().into());
    }
    match act {
        Act::RecoverHsm => recover(world, &hsm(), &uid, api::IncludeKeys::None),
        Act::RecoverHsmWithKeys => recover(world, &hsm(), &uid, api::IncludeKeys::All),
        Act::PurgeHsm => purge(world, &hsm(), &uid),
        _ => {}
    }
    Ok(())
}

/// All in it is deleted, and it goes when the last object is gone.
fn end_namespace(world: &mut World) -> Result<(), String> {
    if let Some(space) = &mut world.namespace {
        space.terminating = true;
    }
    world.recovers.clear();
    for of in world.objects.keys().cloned().collect::<Vec<_>>() {
        delete(world, &of)?;
    }
    world.settle()?;
    if world.objects.is_empty() {
        world.namespace = None;
        world.settle()?;
    }
    Ok(())
}

// ---- how it is told ----

fn row(kind: Kind, state: State, what: Act) -> String {
    let mut world = begin(kind, state).expect("a state that can be reached");
    let outcome = act(&mut world, kind, what);
    world.settle().expect("it comes to rest");
    let cells = cells(&world, kind, what);
    format!(
        "| {} | {} | {} | {} | {} | {} |",
        state.said(),
        what.said(),
        cells.object,
        cells.proxy,
        cells.record,
        outcome.err().unwrap_or(cells.told).replace('|', "\\|")
    )
}

fn cells(world: &World, kind: Kind, what: Act) -> Cells {
    let of = lineage(kind);
    let its = |(_, record): &&(u64, Record)| lineage_of(record) == of;
    let records = world.ledger.values().filter(its);
    Cells {
        object: rows::object_cell(world.objects.get(&of).map(|object| {
            let reason = ready(conditions(object)).map(|ready| ready.reason.clone());
            (
                object.meta.uid.to_string(),
                reason,
                object.meta.deleted.is_some(),
            )
        })),
        proxy: rows::proxy_cell(world.proxies.get(&of).map(|found| {
            let phase = found.status.phase.map(|phase| format!("{phase:?}"));
            (found.origin().uid.clone(), phase)
        })),
        record: rows::record_cell(
            records
                .map(|(_, record)| (record.origin.uid.to_string(), format!("{:?}", record.state))),
        ),
        told: told(world, &of, rows::name(what.told_about(kind))),
    }
}

pub fn conditions(object: &Object) -> &[api::Condition] {
    match &object.body {
        Body::Hsm(_, shown) => &shown.conditions,
        Body::Key(_, shown) => &shown.conditions,
    }
}

fn ready(conditions: &[api::Condition]) -> Option<&api::Condition> {
    api::conditions::get(conditions, api::conditions::READY)
}

/// What the one who acted is told: by the request about that name, the twin, the object, else the proxy.
fn told(world: &World, of: &Lineage, about: &str) -> String {
    let said = |conditions: &[api::Condition]| {
        ready(conditions).map(|ready| (ready.reason.clone(), ready.message.clone()))
    };
    let twin = Lineage::new(Kind::Key, NAMESPACE, TWIN);
    rows::told_cell([
        world
            .purges
            .get(&format!("purge-{about}"))
            .map(|purge| said(&purge.status.conditions)),
        world
            .recovers
            .get(&format!("recover-{about}"))
            .map(|recover| said(&recover.status.conditions)),
        world
            .objects
            .get(&twin)
            .map(|object| said(conditions(object))),
        world.objects.get(of).map(|object| said(conditions(object))),
        world
            .proxies
            .get(of)
            .map(|found| said(&found.status.conditions)),
    ])
}

/// Two resources for one key, made at once and carried on in turns: how many become Ready.
pub fn twins_at_once() -> Result<usize, String> {
    let mut world = begin(Kind::Key, State::WaitingForHsm)?;
    create(&mut world, &hsm(), "prod-1", |_| ())?;
    while world.step(&hsm()) {}
    let twin = Lineage::new(Kind::Key, NAMESPACE, TWIN);
    create(&mut world, &twin, "twin-1", |body| {
        if let Body::Key(spec, _) = body {
            spec.key_name = Some(KEY.to_uppercase());
        }
    })?;
    let both = [lineage(Kind::Key), twin];
    for _ in 0..MOST_STEPS {
        // Each looks before the other has done anything.
        let plans = both.each_ref().map(|of| plan(&world.look(of)).step);
        for (of, step) in both.iter().zip(&plans) {
            step.iter().for_each(|step| world.apply(of, &step.effect));
        }
        if plans.iter().all(Option::is_none) {
            let is_ready = |of: &&Lineage| {
                let object = world.objects.get(of);
                object.is_some_and(|object| {
                    api::conditions::is_true(conditions(object), api::conditions::READY)
                })
            };
            return Ok(both.iter().filter(is_ready).count());
        }
    }
    Err("the two never come to rest".into())
}

const HEAD: &str = "# Sequences

What becomes of an object in each state when something happens to it, as this version of the operator answers: run by the real planner in a world without a
cluster (`tests/laws`) until nothing moves any more. Generated: `make docs` writes it anew.

Admission refuses some of these acts before they get here (a create under a reserved name, by the webhook): this is what happens where it did not. uids are told as `name-1` (made first), `name-2`, `name-3` (made later), `name-again` (recovered).

";

/// The whole document.
pub fn document() -> String {
    let mut text = HEAD.to_owned();
    for kind in [Kind::Hsm, Kind::Key] {
        text.push_str(&format!(
            "## {}\n\n| it is | then | object | proxy | record | what is said |\n|---|---|---|---|---|---|\n",
            kind.object()
        ));
        for (state, what) in rows::rows(kind) {
            text.push_str(&row(kind, state, what));
            text.push('\n');
        }
        text.push('\n');
    }
    text.trim_end().to_owned() + "\n"
}

/// Whether a key's world ends with its material usable exactly if it is Ready.
pub fn ready_means_usable(kind: Kind) -> Result<(), String> {
    for (state, what) in rows::rows(kind) {
        let mut world = begin(kind, state)?;
        _ = act(&mut world, kind, what);
        let of = lineage(kind);
        let ready = world.objects.get(&of).is_some_and(|object| {
            object.meta.deleted.is_none()
                && api::conditions::is_true(conditions(object), api::conditions::READY)
        });
        let around = ids::record_id(&Uid::from("prod-1"));
        let open = world
            .tokens
            .values()
            .any(|(access, _)| *access == Access::Open);
        if ready && !open {
            return Err(format!(
                "{state:?} {what:?}: Ready in the sealed HSM {around}"
            ));
        }
    }
    Ok(())
}
