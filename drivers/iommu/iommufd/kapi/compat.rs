// SPDX-License-Identifier: GPL-2.0

//! What the driver uses of the newest kernel's crate, and older ones lack.
//!
//! The driver is written for the newest one, and knows nothing of this file. For a kernel that
//! lacks some of it, this becomes a crate of its own, which the driver is given in place of the
//! kernel's: it is that one, and has what is added here under the names of the newest. Whether a
//! kernel lacks something, its crate tells: `compat/newest.rs` does not compile then (see the
//! Makefile).
//!
//! What the oldest kernel that there is a driver for (`KERNEL_OLDEST` in `tools/env/config`) has
//! is not here any more. What is a function is inlined: nothing is linked to this crate's object.

pub use kernel::*;

/// Errors, with those that have names from 7.3 on.
pub mod error {
    pub use kernel::error::*;

    /// What C calls errno.
    pub mod code {
        pub use kernel::error::code::*;

        use kernel::{
            bindings,
            error::Error, //
        };

        const fn error(errno: u32) -> Error {
            // CAST: An errno is less than 4096.
            let number = -(errno as i32);
            // SAFETY: An error is its negative number, as is seen below.
            unsafe { core::mem::transmute::<i32, Error>(number) }
        }

        const _: () = assert!(matches!(error(bindings::EINVAL), EINVAL));
        const _: () = assert!(matches!(error(bindings::EOVERFLOW), EOVERFLOW));

        /// Address already in use.
        pub const EADDRINUSE: Error = error(bindings::EADDRINUSE);
        /// File descriptor in bad state.
        pub const EBADFD: Error = error(bindings::EBADFD);
        /// It would wait for itself.
        pub const EDEADLK: Error = error(bindings::EDEADLK);
        /// Not supported.
        pub const EOPNOTSUPP: Error = error(bindings::EOPNOTSUPP);
    }
}

/// Modules, and from 7.3 on, which of them one is in.
pub mod module {
    use kernel::{
        bindings,
        types::Opaque,
        ModuleMetadata,
        ThisModule, //
    };

    /// The module that this is called in, `M`. There is no other that uses this crate.
    pub const fn this_module<M: ModuleMetadata>() -> ThisModule {
        // Only its address is of interest.
        #[expect(improper_ctypes)]
        extern "C" {
            static __this_module: Opaque<bindings::module>;
        }

        // SAFETY: The linker puts it into each module.
        let module = unsafe { &__this_module };
        // SAFETY: That is who it is.
        unsafe { ThisModule::from_ptr(module.get()) }
    }
}

/// Locks and the like, with what can be waited for from 7.3 on.
pub mod sync {
    pub use kernel::sync::*;

    /// Waiting by poll().
    pub mod poll {
        pub use kernel::sync::poll::*;

        use core::{
            ops::Deref,
            pin::Pin, //
        };
        use kernel::{
            alloc::AllocError,
            prelude::*,
            sync::LockClassKey, //
        };

        /// Those who wait, in memory of their own. When it goes, readers are waited for.
        pub struct PollCondVarBox(Pin<KBox<PollCondVar>>);

        impl PollCondVarBox {
            /// Nobody waits yet.
            #[inline]
            pub fn new(
                name: &'static CStr,
                key: Pin<&'static LockClassKey>,
            ) -> Result<Self, AllocError> {
                KBox::pin_init(PollCondVar::new(name, key), GFP_KERNEL)
                    .map(Self)
                    .map_err(|_| AllocError)
            }
        }

        impl Deref for PollCondVarBox {
            type Target = PollCondVar;

            #[inline]
            fn deref(&self) -> &PollCondVar {
                &self.0
            }
        }
    }
}

/// Tasks, with what they tell from 7.3 on.
pub mod task {
    pub use kernel::task::*;

    /// Methods that are the task's own there.
    pub trait Newest {
        /// The number of its process.
        fn tgid(&self) -> Pid;
    }

    impl Newest for Task {
        #[inline]
        fn tgid(&self) -> Pid {
            // SAFETY: A task is there as long as this is borrowed, and keeps its number.
            unsafe { (*self.as_ptr()).tgid }
        }
    }
}

/// C's declarations, with the call that is there from 7.3 on.
pub mod bindings {
    #![allow(missing_docs, non_camel_case_types)]

    pub use kernel::bindings::*;

    pub const IOMMUFD_CMD_IOAS_NOIOMMU_GET_PA: u32 = 0x95;

    #[repr(C)]
    pub struct iommu_ioas_noiommu_get_pa {
        pub size: u32,
        pub flags: u32,
        pub ioas_id: u32,
        pub __reserved: u32,
        pub iova: u64,
        pub length: u64,
        pub out_phys: u64,
    }
}

/// The prelude, with those errors and methods.
pub mod prelude {
    pub use kernel::prelude::*;

    pub use super::{
        error::code::{
            EADDRINUSE,
            EBADFD,
            EDEADLK,
            EOPNOTSUPP, //
        },
        task::Newest as _, //
    };
}
