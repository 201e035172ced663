// SPDX-License-Identifier: GPL-2.0

//! Errors are numbers.

use crate::alloc::AllocError;

/// An errno.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Error(i32);

/// With an errno, if something went wrong.
pub type Result<T = (), E = Error> = core::result::Result<T, E>;

/// What a function in C has returned.
pub fn to_result(errno: i32) -> Result {
    if errno < 0 {
        return Err(Error(errno));
    }
    Ok(())
}

impl Error {
    /// As C returns it.
    pub fn to_errno(self) -> i32 {
        self.0
    }
}

impl From<AllocError> for Error {
    fn from(_: AllocError) -> Self {
        code::ENOMEM
    }
}

/// By name.
pub mod code {
    macro_rules! errors {
        ($($name:ident = $number:literal),* $(,)?) => {
            $(
                #[allow(missing_docs)]
                pub const $name: super::Error = super::Error(-$number);
            )*
        };
    }
    errors! {
        EPERM = 1,
        ENOENT = 2,
        ESRCH = 3,
        EINTR = 4,
        EIO = 5,
        ENOMEM = 12,
        EFAULT = 14,
        EBUSY = 16,
        EEXIST = 17,
        ENODEV = 19,
        EINVAL = 22,
        ENOSPC = 28,
        EDEADLK = 35,
        EOVERFLOW = 75,
        EOPNOTSUPP = 95,
        EADDRINUSE = 98,
    }
}
