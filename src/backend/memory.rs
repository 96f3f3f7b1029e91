//! The reference backend: all in memory, with a fault script.
