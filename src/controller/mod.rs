//! From what is observed to what is done: the work queue, and who works on it.

pub mod queue;
