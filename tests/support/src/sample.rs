//! Long series: `make test` plays a sample of them, `make whole` all.

/// Each so manieth of a series, or each one where WHOLE is set.
pub fn each(sample: usize) -> usize {
    if std::env::var_os("WHOLE").is_some() {
        1
    } else {
        sample
    }
}
