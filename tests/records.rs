//! The record decides: clusters and stores that were lost, put back or rebuilt, and a person's ways out. Each test has a plane and an operator of its own.

mod operator;

#[path = "records/acts.rs"]
mod acts;
#[path = "records/ledger.rs"]
mod ledger;
#[path = "records/lost.rs"]
mod lost;
#[path = "records/put_back.rs"]
mod put_back;
