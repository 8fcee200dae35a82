//! The others.

#[cfg(feature = "ekv")]
pub mod ekv;
pub mod sequential;
