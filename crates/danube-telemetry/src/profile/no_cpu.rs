//! Stands where a system or processor is none of those whose stacks we can walk.

use std::io;

use super::Profile;

/// Samples a second of processor time when nobody says otherwise.
pub const HZ_DEFAULT: u32 = 99;

/// Samples a second at most.
pub const HZ_MAX: u32 = 999;

/// Why sampling can't begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It goes on already.
    #[error("the processor is being profiled already")]
    Busy,
    /// The system refused.
    #[error("start sampling: {0}")]
    System(#[from] io::Error),
}

/// Samples until it is finished or dropped: never, here.
pub struct Sampling(std::convert::Infallible);

/// Begins to sample.
///
/// # Errors
/// Always.
pub fn start(_hz: u32) -> Result<Sampling, StartError> {
    Err(StartError::System(io::ErrorKind::Unsupported.into()))
}

impl Sampling {
    /// Ends it.
    #[must_use]
    pub fn finish(self) -> Profile {
        match self.0 {}
    }
}
