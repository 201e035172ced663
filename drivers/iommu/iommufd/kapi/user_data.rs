// SPDX-License-Identifier: GPL-2.0

//! Memory of userspace's that an IOMMU driver reads and writes itself. Would become
//! `rust/kernel/iommu/user_data.rs`.
//!
//! C header: [`include/linux/iommu.h`](srctree/include/linux/iommu.h)

use crate::kapi::task;
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    uaccess::UserPtr, //
};

/// A structure that userspace hands to an IOMMU driver, which alone knows what is in it.
#[derive(Clone, Copy)]
pub(crate) struct UserData {
    /// Which structure it is.
    pub(crate) kind: u32,
    /// Where it is.
    pub(crate) at: UserPtr,
    /// How long it is.
    pub(crate) len: u32,
}

impl UserData {
    pub(super) fn as_raw(&self) -> bindings::iommu_user_data {
        bindings::iommu_user_data {
            type_: self.kind,
            uptr: self.at.as_mut_ptr(),
            len: self.len as usize,
        }
    }
}

/// A list of structures, one after the other.
#[derive(Clone, Copy)]
pub(crate) struct UserArray {
    /// Which structure they are.
    pub(crate) kind: u32,
    /// Where they are.
    pub(crate) at: UserPtr,
    /// How long each is.
    pub(crate) entry_len: u32,
    /// How many there are.
    pub(crate) entries: u32,
}

/// A driver is given no more entries than these at a time.
const BATCH: u32 = 4096;

impl UserArray {
    /// Has `handle`, which returns an error of C's, work at all entries, one after the other. It is
    /// called once if there are none.
    ///
    /// Returns how many it has worked at, also if it has failed at the next one. `EINTR` is a fatal
    /// signal.
    pub(super) fn for_batches(
        &self,
        mut handle: impl FnMut(&mut bindings::iommu_user_data_array) -> c_int,
    ) -> (u32, Result) {
        let mut done = 0;
        loop {
            let entry_num = (self.entries - done).min(BATCH);
            let behind = done as usize * self.entry_len as usize;
            let mut batch = bindings::iommu_user_data_array {
                type_: self.kind,
                uptr: self.at.wrapping_byte_add(behind).as_mut_ptr(),
                entry_len: self.entry_len as usize,
                entry_num,
            };
            let handled = to_result(handle(&mut batch));
            done += batch.entry_num.min(entry_num);
            if handled.is_err() || batch.entry_num < entry_num || done == self.entries {
                return (done, handled);
            }
            if let Err(e) = task::resched_killable() {
                return (done, Err(e));
            }
        }
    }
}

#[kunit_tests(iommufd_user_data)]
mod tests {
    use super::*;

    /// What the driver is given, at which it fails with entry `fails`.
    fn batches(entries: u32, fails: u32) -> Result<(u32, Result, KVec<(usize, u32)>)> {
        let array = UserArray {
            kind: 7,
            at: UserPtr::from_addr(0x1000),
            entry_len: 3,
            entries,
        };
        let mut given = KVec::new();
        let mut next = 0;
        let mut full = Ok(());
        let (done, result) = array.for_batches(|batch| {
            let behind = batch.uptr.addr() - 0x1000;
            full = given.push((behind, batch.entry_num), GFP_KERNEL);
            let good = batch.entry_num.min(fails - next);
            next += good;
            if good < batch.entry_num {
                batch.entry_num = good;
                return EIO.to_errno();
            }
            0
        });
        full?;
        Ok((done, result, given))
    }

    #[test]
    fn entries() -> Result {
        let (done, result, given) = batches(0, 9)?;
        assert!(done == 0 && result.is_ok() && given.as_slice() == &[(0, 0)]);
        let (done, result, given) = batches(BATCH, BATCH)?;
        assert!(done == BATCH && result.is_ok() && given.as_slice() == &[(0, BATCH)]);
        let second = BATCH as usize * 3;
        let (done, result, given) = batches(BATCH + 2, BATCH + 2)?;
        assert!(done == BATCH + 2 && result.is_ok());
        assert!(given.as_slice() == &[(0, BATCH), (second, 2)]);
        let (done, result, given) = batches(BATCH * 2, BATCH + 1)?;
        assert!(done == BATCH + 1 && result == Err(EIO));
        assert!(given.as_slice() == &[(0, BATCH), (second, BATCH)]);
        let (done, result, given) = batches(5, 0)?;
        assert!(done == 0 && result == Err(EIO) && given.as_slice() == &[(0, 5)]);
        Ok(())
    }
}
