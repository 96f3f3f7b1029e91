//! Who operates, over which store, and how he dies: in this process over memory, or in a process of its own over the embedded store.

use std::future::Future;
use std::pin::Pin;

use managed_hsm_operator::backend::memory::MemoryBackend;
use managed_hsm_operator::controller::stops::{Stops, When, Which};
use managed_hsm_operator::plan::Lineage;
use testplane::Plane;

#[cfg(feature = "embedded")]
use crate::apart::{self, Apart};
use crate::lives::Store;
use crate::operator::Operator;

/// Before or after which of a lineage's effects the operator stops.
pub struct Place {
    pub lineage: Lineage,
    pub when: When,
    pub number: usize,
}

/// Done once the lineage stands there.
pub type Reached = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A store, and what kind of operator works on it.
pub enum House {
    Memory(MemoryBackend),
    #[cfg(feature = "embedded")]
    Embedded(tempfile::TempDir),
}

/// One operator at work.
pub enum Hand {
    Here(Operator),
    #[cfg(feature = "embedded")]
    Apart(Apart),
}

impl House {
    pub fn store(&self) -> Store {
        match self {
            Self::Memory(backend) => backend.into(),
            #[cfg(feature = "embedded")]
            Self::Embedded(folder) => Store::Ledger(apart::ledger(folder.path())),
        }
    }

    /// Starts one that stops at these places.
    pub async fn operate(&self, plane: &Plane, places: &[Place]) -> (Hand, Vec<Reached>) {
        match self {
            Self::Memory(backend) => {
                let stops = Stops::default();
                let reached = reached_in(&stops, places);
                let operator = Operator::with_stops(plane, backend, &stops).await;
                (Hand::Here(operator), reached)
            }
            #[cfg(feature = "embedded")]
            Self::Embedded(folder) => {
                let (process, reached) = Apart::start(plane, folder.path(), places);
                (Hand::Apart(process), reached)
            }
        }
    }

    /// Nothing that can be seen only while nobody operates is left.
    pub fn assert_empty(&self) {
        match self {
            Self::Memory(backend) => assert_eq!(backend.inspect(), []),
            #[cfg(feature = "embedded")]
            Self::Embedded(folder) => apart::assert_empty(folder.path()),
        }
    }
}

impl Hand {
    /// Stops wherever it is; what it held in memory only is lost.
    pub async fn dies(self) {
        match self {
            Self::Here(operator) => drop(operator.crash().await),
            #[cfg(feature = "embedded")]
            Self::Apart(process) => drop(process),
        }
    }
}

/// From now on whoever has these stops stands at each of the places.
pub fn reached_in(stops: &Stops, places: &[Place]) -> Vec<Reached> {
    let at = |place: &Place| -> Reached {
        let stop = stops.stop(&place.lineage, place.when, Which::Number(place.number));
        Box::pin(async move { stop.reached().await })
    };
    places.iter().map(at).collect()
}
