//! A world without a cluster.

use managed_hsm_operator::plan::Observed;
use managed_hsm_operator::plan::observed::Body;
use managed_hsm_operator::plan::step::Effect;

/// The observation after a status write that succeeded; None: the effect is no such write.
pub fn shown(o: &Observed, effect: &Effect) -> Option<Observed> {
    let mut next = o.clone();
    match effect {
        Effect::ShowHsm(_, status) => {
            if let Some(Body::Hsm(_, shown)) = next.object.as_mut().map(|object| &mut object.body) {
                *shown = (**status).clone();
            }
        }
        Effect::ShowKey(_, status) => {
            if let Some(Body::Key(_, shown)) = next.object.as_mut().map(|object| &mut object.body) {
                *shown = (**status).clone();
            }
        }
        Effect::ShowProxy(_, status) => {
            if let Some(found) = &mut next.proxy {
                found.status = (**status).clone();
            }
        }
        Effect::ShowRecover(at, status) => {
            let its = next
                .recovers
                .iter_mut()
                .find(|recover| recover.meta.name == at.name);
            if let Some(recover) = its {
                recover.status = (**status).clone();
            }
        }
        Effect::ShowPurge(at, status) => {
            let its = next
                .purges
                .iter_mut()
                .find(|purge| purge.meta.name == at.name);
            if let Some(purge) = its {
                purge.status = (**status).clone();
            }
        }
        _ => return None,
    }
    Some(next)
}
