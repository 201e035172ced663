// SPDX-License-Identifier: GPL-2.0

//! Pinning the pages of memory files for DMA. Would become part of `rust/kernel/mm/pin.rs`.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use super::pin::{
    Batch,
    PagePtr,
    BATCH, //
};
use crate::sys;
use kernel::{
    bindings,
    error::to_result,
    fs::{
        File,
        LocalFile, //
    },
    page::PAGE_SHIFT,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
};

type FolioPtr = *mut bindings::folio;

/// Whether devices may read, and if `write` is set write to, what is in a file: as `mmap()` with
/// `MAP_SHARED` would let the process.
///
/// # Errors
///
/// * `EACCES`: it is not open for reading, or can only be appended to.
/// * `EPERM`: it is not open for writing.
pub(crate) fn check_access(file: &LocalFile, write: bool) -> Result {
    // SAFETY: The file is open.
    to_result(unsafe { sys::iommufd_check_access(file.as_ptr(), write) })
}

/// A memory file (memfd, shmem, hugetlbfs). If devices may write to it then it cannot be sealed
/// against writing until this is dropped, just as if a process had it mapped that way.
///
/// # Invariants
///
/// If `is_written`, the file counts as mapped for writing once more because of this.
pub(crate) struct MemoryFile {
    file: ARef<File>,
    is_written: bool,
}

impl MemoryFile {
    /// Takes a file, and has it know if devices will `write` to it.
    ///
    /// # Errors
    ///
    /// * `EPERM`: it is sealed against writing (`F_SEAL_WRITE`, `F_SEAL_FUTURE_WRITE`).
    /// * `EINVAL`: it is no memory file. `ENOMEM`.
    pub(crate) fn new(file: &LocalFile, write: bool) -> Result<Arc<Self>> {
        let shared = ARef::from(file);
        // SAFETY: The current task is in an ioctl, which holds no file by `fdget_pos()`.
        let file = unsafe { LocalFile::assume_no_fdget_pos(shared) };
        // SAFETY: The file is open.
        if !unsafe { sys::iommufd_is_memory_file(file.as_ptr()) } {
            return Err(EINVAL);
        }
        if write {
            // SAFETY: The file is open.
            to_result(unsafe { sys::iommufd_begin_writes(file.as_ptr()) })?;
        }
        // INVARIANT: Just done; it is undone if there is no memory.
        let file = Self {
            file,
            is_written: write,
        };
        Ok(Arc::new(file, GFP_KERNEL_ACCOUNT)?)
    }

    /// How many pages of memory it has by now.
    pub(crate) fn npages(&self) -> u64 {
        // SAFETY: The file is open.
        unsafe { sys::iommufd_file_pages(self.file.as_ptr()) as u64 }
    }

    /// Whether its pages are from a pool of huge ones.
    pub(crate) fn has_huge_pages(&self) -> bool {
        // SAFETY: The file is open.
        unsafe { sys::iommufd_has_huge_pages(self.file.as_ptr()) }
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        if self.is_written {
            // SAFETY: By the type invariant; the file is there until after this.
            unsafe { sys::iommufd_end_writes(self.file.as_ptr()) }
        }
    }
}

/// Pins what is in a memory file, a batch at a time.
pub(crate) struct FilePinner<'a> {
    file: &'a Arc<MemoryFile>,
    writable: bool,
    /// Room for what a batch needs; never anything in it.
    folios: KVec<FolioPtr>,
    /// As `folios`.
    pages: KVec<PagePtr>,
}

impl<'a> FilePinner<'a> {
    /// For pages of `file` that the device will write to, if `writable`.
    pub(crate) fn new(file: &'a Arc<MemoryFile>, writable: bool) -> Self {
        Self {
            file,
            writable,
            folios: KVec::new(),
            pages: KVec::new(),
        }
    }

    /// The file.
    pub(crate) fn file(&self) -> &'a Arc<MemoryFile> {
        self.file
    }

    /// Whether its pages will be written to.
    pub(crate) fn is_for_writes(&self) -> bool {
        self.writable
    }

    /// Prepares for pinning up to `npages` in all.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn prepare(&mut self, npages: u64) -> Result {
        // CAST: No larger than `BATCH`.
        let room = npages.min(BATCH) as usize;
        self.folios.reserve(room, GFP_KERNEL)?;
        self.pages.reserve(room, GFP_KERNEL)?;
        Ok(())
    }

    /// Pins pages from `offset` in the file on: at least one, at most `npages`.
    ///
    /// `offset` is a multiple of the page size.
    ///
    /// # Errors
    ///
    /// * `EINVAL`: it ends before.
    /// * `ENOMEM`: also if the machine or the control group would be left with too little, or a
    ///   page is pinned a million times already.
    /// * `EINTR` (a fatal signal), and what finding the pages returns.
    pub(crate) fn pin(&mut self, offset: u64, npages: u64) -> Result<Batch<'_>> {
        // As many as `prepare` has made room for.
        let room = self.folios.capacity().min(self.pages.capacity());
        let want = npages.min(BATCH).min(room as u64);
        if want == 0 {
            return Err(EINVAL);
        }
        let last = offset.checked_add((want << PAGE_SHIFT) - 1).ok_or(EINVAL)?;
        let last = i64::try_from(last).map_err(|_| EINVAL)?;
        let first_page = (offset >> PAGE_SHIFT) as c_ulong;
        // SAFETY: The file is open.
        to_result(unsafe {
            sys::iommufd_fill_file(self.file.file.as_ptr(), first_page, want as c_ulong)
        })?;
        let mut into_first: c_ulong = 0;
        let slots = self.folios.as_mut_ptr();
        // SAFETY: The file is open; there is room for as many folios as there are pages.
        let got = unsafe {
            bindings::memfd_pin_folios(
                self.file.file.as_ptr(),
                offset as i64,
                last,
                slots,
                want as c_uint,
                &raw mut into_first,
            )
        };
        let got = match usize::try_from(got) {
            Ok(0) => return Err(EINVAL),
            Ok(got) => got,
            Err(_) => return Err(Error::from_errno(got as c_int)),
        };
        // SAFETY: The function has filled in that many.
        let folios = unsafe { core::slice::from_raw_parts(slots, got) };
        self.spread(folios, (into_first as u64) >> PAGE_SHIFT, want)
    }

    /// Makes one pin on each of `folios` one pin on each of their pages, of which the first
    /// `skip`, and those behind the first `want`, are not wanted.
    fn spread(&mut self, folios: &[FolioPtr], skip: u64, want: u64) -> Result<Batch<'_>> {
        let pages = self.pages.as_mut_ptr();
        let mut count = 0usize;
        let mut skip = skip;
        for (done, folio) in folios.iter().enumerate() {
            // SAFETY: We hold a pin on the folio.
            let size = unsafe { sys::iommufd_cleared_pages(*folio) } as u64;
            let some = size.saturating_sub(skip).min(want - count as u64);
            let added = match some.checked_sub(1) {
                None => false,
                Some(0) => true,
                // SAFETY: As above; what is added is for the other pages of this folio.
                Some(more) => unsafe { bindings::folio_add_pins(*folio, more as c_uint) == 0 },
            };
            if !added {
                Self::give_up(folios.get(done..).unwrap_or_default());
                // SAFETY: As at the end of this function.
                drop(unsafe { Batch::new(pages, count, self.writable) });
                return Err(ENOMEM);
            }
            for page in skip..skip + some {
                // SAFETY: There is room for `want` pages, of which this is one: the sum of what
                // was added is no more.
                let slot = unsafe { pages.add(count) };
                let page = folio.cast::<bindings::page>().wrapping_add(page as usize);
                // SAFETY: As above.
                unsafe { slot.write(page) };
                count += 1;
            }
            skip = 0;
        }
        // SAFETY: So many are filled in, each with a pin, and borrowed with `self`.
        unsafe { Batch::new(pages, count, self.writable) }
    }

    fn give_up(folios: &[FolioPtr]) {
        for folio in folios {
            // SAFETY: We hold one pin on each of them.
            unsafe { bindings::unpin_folio(*folio) };
        }
    }
}
