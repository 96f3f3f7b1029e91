//! The backend's side of a look. Handles first, then the records at the source (G1).

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::api::DynamicObject;

use super::{Named, text};
use crate::backend::{
    Access, BackendError, Class, Depth, HsmBackend, Mark, MaterialId, ObjectFacts, TokenLabel,
    TokenRef,
};
use crate::controller::index::Entry;
use crate::controller::{Context, Failure};
use crate::plan::observed::{Held, KeyMaterial, Material, Reading};
use crate::plan::{self, ids};
use crate::softdelete::{Kind, Record, RecordId, RecordState, Subject};

/// What was looked at on the backend's side, and by which records.
pub(super) struct Stored {
    pub records: Vec<Held>,
    pub material: Material,
    /// Of an HSM's token that is being destroyed.
    pub contents: Option<Vec<ObjectFacts>>,
    pub hsm: Option<(u64, Record)>,
    pub backend: String,
}

/// What the backend's side shows. A ledger that does not answer is no news of the lineage, but something to show on it (SD-28).
pub(super) async fn stored(
    context: &Context,
    named: &Named<'_>,
    again: bool,
) -> Result<Option<Stored>, Failure> {
    let mut entries = context.index.of_lineage(named.lineage);
    let backend = ledger_that_counts(named, &entries);
    entries.retain(|entry| entry.backend == backend);
    let nothing = |material, backend: &str| {
        Some(Stored {
            records: Vec::new(),
            material,
            contents: None,
            hsm: None,
            backend: backend.to_owned(),
        })
    };
    let Some(module) = context.backends.get(&backend).cloned() else {
        return Ok(nothing(Material::UnknownBackend, &backend));
    };
    if let Some(why) = context.loading.why(&backend) {
        return Ok(nothing(Material::NoLedger(why), &backend));
    }
    match answered(context, named, &module, &backend, entries, again).await {
        Err(Failure::Backend(BackendError::Unavailable(why))) => {
            Ok(nothing(Material::NoLedger(why), &backend))
        }
        other => other,
    }
}

/// That of the record that stands, else of one that speaks of the very object or proxy, else the backend that is asked for: what ended
/// under this name in another backend is no hindrance.
fn ledger_that_counts(named: &Named<'_>, entries: &[Entry]) -> String {
    let its = |entry: &&Entry| {
        let mut uids = [&named.object, &named.proxy].into_iter().flatten();
        let record = entry.held.record();
        uids.any(|uid| {
            entry.held.id == ids::record_id(uid)
                || record.is_some_and(|record| record.origin.uid == *uid)
        })
    };
    entries
        .iter()
        .find(|entry| !entry.held.is_final())
        .or_else(|| entries.iter().find(its))
        .map_or_else(|| named.backend.clone(), |entry| entry.backend.clone())
}

/// Handles first, then the records anew. None: the records name other material than the one looked at.
async fn answered(
    context: &Context,
    named: &Named<'_>,
    module: &Arc<dyn HsmBackend>,
    backend: &str,
    mut entries: Vec<Entry>,
    again: bool,
) -> Result<Option<Stored>, Failure> {
    // What memory has may be gone from the ledger: a store that was lost, or put back.
    if again || entries.iter().all(|entry| entry.held.is_final()) {
        entries = at_the_source(context, module, entries).await?;
    }
    if let Some(own) = named.object.as_ref().map(ids::record_id)
        && !entries.iter().any(|entry| entry.held.id == own)
    {
        entries.extend(
            read(context, module, backend, &own)
                .await?
                .map(|held| Entry {
                    backend: backend.to_owned(),
                    held,
                }),
        );
    }
    let before = entries.iter().map(|entry| &entry.held);
    let standing = standing(before.clone());
    let hsm_id = hsm_id(context, named, standing.as_ref().map(|(_, record)| record));
    let around = match &hsm_id {
        Some(id) => read(context, module, backend, id).await?,
        None => None,
    };
    let unread = |held: &Held| held.record().is_none();
    let in_doubt = around.as_ref().is_some_and(unread) || before.clone().any(unread);
    let hsm_before = around.and_then(one);
    let around = hsm_before.as_ref().map(|(_, record)| record);
    let looked = match &standing {
        _ if in_doubt => Looked::nothing(),
        Some((_, record)) => first_found(context, module, vec![record.clone()], around).await?,
        None if named.sought.is_lost(before.clone()) => Looked {
            material: sought(context, module, &named.sought).await,
            contents: None,
        },
        None => first_found(context, module, ended(before, around), around).await?,
    };

    let mut records = Vec::new();
    for entry in &entries {
        records.extend(as_it_reads(context, module, backend, &entry.held.id).await?);
    }
    let hsm = match &hsm_id {
        Some(id) => read(context, module, backend, id).await?.and_then(one),
        None => None,
    };
    // G3: handles count only for the very record that they were taken under. What is now the only copy was an original before.
    if self::standing(records.iter()) != standing || hsm_before != hsm {
        return Ok(None);
    }
    Ok(Some(Stored {
        records,
        material: looked.material,
        contents: looked.contents,
        hsm,
        backend: backend.to_owned(),
    }))
}

/// The entries as the ledger has them now.
async fn at_the_source(
    context: &Context,
    module: &Arc<dyn HsmBackend>,
    entries: Vec<Entry>,
) -> Result<Vec<Entry>, Failure> {
    let mut found = Vec::new();
    for Entry { backend, held } in entries {
        let held = as_it_reads(context, module, &backend, &held.id).await?;
        found.extend(held.map(|held| Entry { backend, held }));
    }
    Ok(found)
}

/// The record that holds the name: the one whose material is looked at.
fn standing<'a>(mut held: impl Iterator<Item = &'a Held>) -> Option<(u64, Record)> {
    held.find(|held| !held.is_final()).cloned().and_then(one)
}

/// Where none stands: those that ended and may have left something, of a key only in the HSM that it is in now.
fn ended<'a>(held: impl Iterator<Item = &'a Held>, hsm: Option<&Record>) -> Vec<Record> {
    let in_reach = |record: &&Record| match &record.subject {
        Subject::Key { hsm: its, .. } => hsm.is_some_and(|hsm| hsm.id == *its),
        Subject::Hsm { .. } => true,
    };
    held.filter_map(Held::record)
        .filter(|record| plan::may_leave_something(record))
        .filter(in_reach)
        .cloned()
        .collect()
}

/// What was found of one record's material.
struct Looked {
    material: Material,
    contents: Option<Vec<ObjectFacts>>,
}

impl Looked {
    fn nothing() -> Self {
        Self {
            material: Material::NotLooked,
            contents: None,
        }
    }
}

/// Of the first of these records of which anything is there.
async fn first_found(
    context: &Context,
    module: &Arc<dyn HsmBackend>,
    candidates: Vec<Record>,
    hsm: Option<&Record>,
) -> Result<Looked, Failure> {
    let mut looked = Looked::nothing();
    for record in &candidates {
        looked.material = material(context, module, record, hsm).await?;
        looked.contents = contents(context, module, record, &looked.material).await?;
        let nothing = match &looked.material {
            Material::Token(found) => found.is_none(),
            Material::Objects(found) => found.is_empty(),
            _ => true,
        };
        if !nothing {
            break;
        }
    }
    Ok(looked)
}

/// What is in an HSM's token that is being destroyed, or was. None: it cannot be looked into.
async fn contents(
    context: &Context,
    module: &Arc<dyn HsmBackend>,
    record: &Record,
    seen: &Material,
) -> Result<Option<Vec<ObjectFacts>>, Failure> {
    let ends = matches!(
        record.state,
        RecordState::Destroying | RecordState::Tombstone
    );
    let Material::Token(Some(facts)) = seen else {
        return Ok(None);
    };
    if !ends {
        return Ok(None);
    }
    let token = TokenRef {
        label: facts.label.clone(),
        serial: facts.serial.clone(),
    };
    let seen = context
        .pool
        .run(Arc::clone(module), move |module| module.inventory(&token))
        .await;
    Ok(seen.ok())
}

/// The id's record at the source, as it reads beside its HSM's: that is read too, unless memory knows it as final, which it stays.
async fn as_it_reads(
    context: &Context,
    module: &Arc<dyn HsmBackend>,
    backend: &str,
    id: &RecordId,
) -> Result<Option<Held>, Failure> {
    let Some(held) = read(context, module, backend, id).await? else {
        return Ok(None);
    };
    if let Some(Subject::Key { hsm, .. }) = held.record().map(|record| &record.subject)
        && !context
            .index
            .get(hsm)
            .is_some_and(|known| known.held.is_final())
    {
        read(context, module, backend, hsm).await?;
    }
    Ok(Some(context.index.as_it_reads(held)))
}

pub(super) fn one(held: Held) -> Option<(u64, Record)> {
    match held.reading {
        Reading::One(record) => Some((held.generation, *record)),
        Reading::Disagree | Reading::Unknown(_) => None,
    }
}

fn material_ids(record: &Record) -> Vec<MaterialId> {
    match &record.subject {
        Subject::Hsm { .. } => Vec::new(),
        Subject::Key {
            versions, pending, ..
        } => versions
            .iter()
            .map(|version| &version.material)
            .chain(pending.iter().map(|pending| &pending.material))
            .filter_map(ids::backend_id)
            .collect(),
    }
}

/// The record that the key's record names, else that of the HSM of that name.
fn hsm_id(context: &Context, named: &Named<'_>, record: Option<&Record>) -> Option<RecordId> {
    if let Some(Subject::Key { hsm, .. }) = record.map(|record| &record.subject) {
        return Some(hsm.clone());
    }
    let of = named.hsm_lineage?;
    let standing = context
        .index
        .of_lineage(of)
        .into_iter()
        .find(|entry| !entry.held.is_final());
    standing
        .map(|entry| entry.held.id)
        .or_else(|| named.hsm.as_ref().map(ids::record_id))
}

/// All records of one ledger in one pass; memory takes note of them.
pub async fn list(
    context: &Context,
    module: &Arc<dyn HsmBackend>,
    backend: &str,
) -> Result<Vec<Held>, Failure> {
    let begun = context.index.begin_read();
    let stored = context
        .pool
        .run(Arc::clone(module), |module| module.records())
        .await?;
    Ok(stored
        .chunk_by(|one, other| one.id == other.id)
        .filter_map(|group| {
            let id = RecordId(group.first()?.id.clone());
            context.index.note(begun, backend, &id, group)
        })
        .collect())
}

/// The id's record, at the source; memory takes note of it.
pub async fn read(
    context: &Context,
    module: &Arc<dyn HsmBackend>,
    backend: &str,
    id: &RecordId,
) -> Result<Option<Held>, Failure> {
    let name = id.0.clone();
    let begun = context.index.begin_read();
    let stored = context
        .pool
        .run(Arc::clone(module), move |module| module.read(&name))
        .await?;
    Ok(context.index.note(begun, backend, id, &stored))
}

async fn material(
    context: &Context,
    module: &Arc<dyn HsmBackend>,
    record: &Record,
    hsm: Option<&Record>,
) -> Result<Material, Failure> {
    match &record.subject {
        Subject::Hsm { .. } => {
            let label = ids::token_label(&record.id);
            let seen = context
                .pool
                .run(Arc::clone(module), move |module| module.token(&label))
                .await;
            Ok(seen.map_or_else(unavailable, Material::Token))
        }
        Subject::Key { .. } => match hsm.map(|hsm| &hsm.subject) {
            Some(Subject::Hsm { token: Some(token) }) => {
                let token = TokenRef {
                    label: crate::backend::TokenLabel(token.label.clone()),
                    serial: token.serial.clone(),
                };
                objects(context, module, token, record).await
            }
            _ => Ok(Material::NoToken),
        },
    }
}

/// What status and proxy name, where no record does: a token by its label, and of a key what is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sought {
    tokens: BTreeSet<TokenLabel>,
    /// None: of an HSM.
    versions: Option<Vec<MaterialId>>,
}

impl Sought {
    pub(super) fn by(
        kind: Kind,
        object: Option<&DynamicObject>,
        proxy: Option<&DynamicObject>,
    ) -> Self {
        let tokens = [text(object, "/status/hsmId"), text(proxy, "/spec/hsmId")];
        let versions = || {
            let all = [
                list_of(object, "/status/versions"),
                list_of(proxy, "/spec/versions"),
            ];
            let ids = all.iter().flat_map(|all| all.iter());
            ids.filter_map(|version| version["materialId"].as_str())
                .filter_map(|id| ids::backend_id(&id.into()))
                .collect()
        };
        Self {
            tokens: tokens.into_iter().flatten().map(TokenLabel).collect(),
            versions: (kind == Kind::Key).then(versions),
        }
    }
}

impl Sought {
    /// Something is named that no record of the lineage speaks of.
    fn is_lost<'a>(&self, records: impl Iterator<Item = &'a Held> + Clone) -> bool {
        let of_record = |token: &TokenLabel| {
            let mut all = records.clone();
            all.any(|held| held.id.0 == token.0)
        };
        let of_version = |id: &MaterialId| {
            let mut all = records.clone().filter_map(Held::record);
            all.any(|record| material_ids(record).contains(id))
        };
        match &self.versions {
            None => self.tokens.iter().any(|token| !of_record(token)),
            Some(versions) if versions.is_empty() => !self.tokens.is_empty(),
            Some(versions) => versions.iter().any(|id| !of_version(id)),
        }
    }
}

fn list_of(of: Option<&DynamicObject>, path: &str) -> Vec<serde_json::Value> {
    of.and_then(|found| found.data.pointer(path))
        .and_then(|value| value.as_array())
        .cloned()
        .unwrap_or_default()
}

async fn sought(context: &Context, module: &Arc<dyn HsmBackend>, wanted: &Sought) -> Material {
    let mut labels = wanted.tokens.iter();
    let (Some(label), None) = (labels.next().cloned(), labels.next()) else {
        return if wanted.tokens.is_empty() {
            Material::NotLooked
        } else {
            Material::Unavailable("status and proxy name different tokens".to_owned())
        };
    };
    let versions = wanted.versions.clone();
    let seen = context.pool.run(Arc::clone(module), move |module| {
        let facts = module.token(&label)?;
        let (Some(ids), Some(facts)) = (versions, &facts) else {
            return Ok(Material::Token(facts));
        };
        let token = TokenRef {
            label: facts.label.clone(),
            serial: facts.serial.clone(),
        };
        Ok(Material::Objects(module.objects(
            &token,
            &ids,
            Depth::Proof,
        )?))
    });
    match (seen.await, &wanted.versions) {
        (Ok(Material::Token(None)), Some(_)) => Material::NoToken,
        (Ok(seen), _) => seen,
        (Err(error), _) => unavailable(error),
    }
}

/// Of what lives, with nothing pending, labels are enough.
fn counted_only(record: &Record) -> bool {
    let pending = matches!(
        &record.subject,
        Subject::Key {
            pending: Some(_),
            ..
        }
    );
    record.state == RecordState::Live && !pending
}

async fn objects(
    context: &Context,
    module: &Arc<dyn HsmBackend>,
    token: TokenRef,
    record: &Record,
) -> Result<Material, Failure> {
    let ids = material_ids(record);
    let quiet = counted_only(record);
    let seen = context
        .pool
        .run(Arc::clone(module), move |module| {
            let labels = module.objects(&token, &ids, Depth::Labels)?;
            // What lives is only counted; each object is tried wherever something is about to be decided on it.
            if quiet
                && labels
                    .iter()
                    .all(|object: &ObjectFacts| object.mark == Mark::Live)
            {
                Ok(labels)
            } else {
                module.objects(&token, &ids, Depth::Proof)
            }
        })
        .await;
    Ok(seen.map_or_else(unavailable, Material::Objects))
}

/// What an HSM's open token holds of one of its keys.
pub(super) async fn material_of_key(
    context: &Context,
    stored: &Stored,
    key: &Record,
) -> Result<Option<KeyMaterial>, Failure> {
    let (Material::Token(Some(token)), Some(module)) =
        (&stored.material, context.backends.get(&stored.backend))
    else {
        return Ok(None);
    };
    if token.access != Access::Open {
        return Ok(None);
    }
    let token = TokenRef {
        label: token.label.clone(),
        serial: token.serial.clone(),
    };
    let (ids, asked) = (material_ids(key), versions(key));
    let found = context
        .pool
        .run(Arc::clone(module), move |module| {
            module.objects(&token, &ids, Depth::Labels)
        })
        .await?;
    let private = |object: &&ObjectFacts| object.class != Class::Public;
    Ok(Some(KeyMaterial {
        missing: asked
            .iter()
            .any(|id| !found.iter().filter(private).any(|object| object.id == *id)),
        unsealed: found
            .iter()
            .filter(private)
            .any(|object| object.mark != Mark::Deleted),
    }))
}

fn versions(key: &Record) -> Vec<MaterialId> {
    let Subject::Key { versions, .. } = &key.subject else {
        return Vec::new();
    };
    let materials = versions.iter().map(|version| &version.material);
    materials.filter_map(ids::backend_id).collect()
}

fn unavailable(error: BackendError) -> Material {
    match error {
        BackendError::Sealed => Material::Sealed,
        BackendError::NotThere(_) => Material::NoToken,
        BackendError::Unavailable(why) => Material::Unavailable(why),
        other => Material::Unavailable(other.to_string()),
    }
}
