// SPDX-License-Identifier: GPL-2.0

//! The machine: processes, pages, and who has them.
//!
//! Each thread of the system has a machine of its own, which all threads of a model are on. It
//! knows what the driver must never do, and panics when it does.

use crate::sync::atomic::{
    ordering::Relaxed,
    Atomic, //
};
use std::cell::{
    Cell,
    RefCell, //
};

/// Pages that a machine has: a model makes one for each run.
const PAGES: usize = if cfg!(feature = "model") { 64 } else { 4096 };

/// Pages that a process, or a file, has.
pub const MEMORY: u64 = 10;

/// Processes that it has.
const PROCESSES: usize = 2;

/// A machine.
pub struct Machine {
    pages: Vec<Page>,
    processes: Vec<Box<Process>>,
    /// Pages that each process may lock, if there is a limit.
    limit: Cell<Option<usize>>,
    /// What was copied, but for its bytes.
    copies: RefCell<Vec<Copied>>,
}

/// Bytes that were copied from a page, or to it: its number, the first of them, and how many.
pub type Copied = (u64, usize, usize);

/// A page.
struct Page {
    /// How often it is pinned.
    pins: Cell<i64>,
    /// In how many entries of page tables and IOTLBs it is.
    uses: Cell<i64>,
    turn: Turn,
}

/// Something that two threads use in one order or the other: a model tries both.
pub struct Turn(Atomic<u64>);

impl Turn {
    /// Not used yet.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// A use.
    pub fn take(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// A process.
pub struct Process {
    number: usize,
    mm: mm::MmWithUser,
    task: task::Task,
    user: bindings::user_struct,
    /// What counts against its own limit.
    locked: Cell<isize>,
    pinned: Cell<isize>,
}

std::thread_local! {
    static MACHINE: RefCell<Option<std::rc::Rc<Machine>>> = const { RefCell::new(None) };
}

#[cfg(feature = "model")]
loom::thread_local! {
    static CURRENT: Current = Current::default();
}

#[cfg(not(feature = "model"))]
std::thread_local! {
    static CURRENT: Current = Current::default();
}

/// What the current thread is.
#[derive(Default)]
struct Current {
    process: Cell<usize>,
    /// So often it may ask whether it is to die, until it is.
    until_killed: Cell<Option<u32>>,
}

fn with<R>(work: impl FnOnce(&Machine) -> R) -> R {
    // Not borrowed while `work` runs: another thread of the model may get its turn.
    let machine = MACHINE.with(|machine| {
        let mut machine = machine.borrow_mut();
        machine
            .get_or_insert_with(|| std::rc::Rc::new(Machine::new()))
            .clone()
    });
    work(&machine)
}

/// Another machine, with nothing on it.
pub fn reset() {
    MACHINE.with(|machine| *machine.borrow_mut() = Some(std::rc::Rc::new(Machine::new())));
    begin_thread();
}

/// No machine any more.
pub fn end() {
    MACHINE.with(|machine| *machine.borrow_mut() = None);
}

/// What comes now is another thread, one of the first process.
pub fn begin_thread() {
    CURRENT.with(|current| {
        current.process.set(0);
        current.until_killed.set(None);
    });
}

/// The current thread is one of this process from here on.
pub fn act_as(process: usize) {
    CURRENT.with(|current| current.process.set(process));
}

/// The current thread gets a fatal signal after it has looked for one so often.
pub fn kill_after(looks: u32) {
    CURRENT.with(|current| current.until_killed.set(Some(looks)));
}

/// Whether the current thread has a fatal signal.
pub fn is_killed() -> bool {
    CURRENT.with(|current| match current.until_killed.get() {
        None => false,
        Some(0) => true,
        Some(looks) => {
            current.until_killed.set(Some(looks - 1));
            false
        }
    })
}

/// A page is pinned once more.
pub fn pin(pfn: u64) {
    with(|machine| {
        let page = machine.page(pfn);
        page.turn.take();
        page.pins.set(page.pins.get() + 1);
    });
}

/// A page is pinned once less.
pub fn unpin(pfn: u64) {
    with(|machine| {
        let page = machine.page(pfn);
        page.turn.take();
        let pins = page.pins.get() - 1;
        page.pins.set(pins);
        assert!(pins >= 0, "page {pfn} is unpinned once too often");
        assert!(
            pins > 0 || page.uses.get() == 0,
            "page {pfn} is unpinned while a page table or an IOTLB has it"
        );
    });
}

/// A pinned page is read or written.
pub fn touch(pfn: u64) {
    with(|machine| {
        let page = machine.page(pfn);
        page.turn.take();
        assert!(page.pins.get() > 0, "page {pfn} is used, and not pinned");
    });
}

/// Bytes of a pinned page are copied.
pub fn copy(pfn: u64, offset: usize, len: usize) {
    touch(pfn);
    with(|machine| machine.copies.borrow_mut().push((pfn, offset, len)));
}

/// What was copied since this was asked last.
pub fn copied() -> Vec<Copied> {
    with(|machine| machine.copies.take())
}

/// A page comes into a page table.
pub fn begin_use(pfn: u64) {
    with(|machine| {
        let page = machine.page(pfn);
        page.turn.take();
        page.uses.set(page.uses.get() + 1);
        assert!(page.pins.get() > 0, "page {pfn} is mapped, and not pinned");
    });
}

/// A page is neither in a page table any more, nor in an IOTLB.
pub fn end_use(pfn: u64) {
    with(|machine| {
        let page = machine.page(pfn);
        page.turn.take();
        page.uses.set(page.uses.get() - 1);
        assert!(
            page.pins.get() > 0,
            "page {pfn} was unpinned while it was mapped"
        );
    });
}

/// How many pins there are, how many pages count against limits, and how many are only counted.
pub fn left() -> (i64, isize, isize) {
    with(|machine| {
        let pins = machine.pages.iter().map(|page| page.pins.get()).sum();
        let processes = machine.processes.iter();
        (
            pins,
            processes.clone().map(|process| process.charged()).sum(),
            processes.map(|process| process.pinned.get()).sum(),
        )
    })
}

/// How many pages of a process and its user count against limits.
pub fn charged(process: usize) -> isize {
    with(|machine| machine.processes[process].charged())
}

/// So many pages may be locked by each process from here on.
pub fn limit(pages: usize) {
    with(|machine| machine.limit.set(Some(pages)));
}

/// The page that a process has at a number: pairs of them are contiguous. A file is one more
/// process.
pub fn pfn(process: usize, page: u64) -> u64 {
    1 + process as u64 * 20 + page + page / 2
}

impl Machine {
    fn new() -> Self {
        let page = |_| Page {
            pins: Cell::new(0),
            uses: Cell::new(0),
            turn: Turn::new(),
        };
        Self {
            pages: (0..PAGES).map(page).collect(),
            processes: (0..PROCESSES)
                .map(|number| Box::new(Process::new(number)))
                .collect(),
            limit: Cell::new(None),
            copies: RefCell::new(Vec::new()),
        }
    }

    fn page(&self, pfn: u64) -> &Page {
        &self.pages[pfn as usize]
    }
}

impl Process {
    fn new(number: usize) -> Self {
        Self {
            number,
            mm: mm::MmWithUser(mm::Mm(number)),
            task: task::Task(number),
            user: bindings::user_struct {
                locked_vm: bindings::Counter {
                    counter: Atomic::new(0),
                },
            },
            locked: Cell::new(0),
            pinned: Cell::new(0),
        }
    }

    fn charged(&self) -> isize {
        self.user.locked_vm.counter.load(Relaxed) + self.locked.get()
    }

    /// Its number.
    pub fn number(&self) -> usize {
        self.number
    }
}

/// The process of a number.
///
/// # Safety
///
/// The machine is not reset while it is used.
unsafe fn process<'a>(number: usize) -> &'a Process {
    // SAFETY: By the contract.
    with(|machine| unsafe { &*core::ptr::from_ref(&*machine.processes[number]) })
}

/// The current thread's process.
pub fn current() -> &'static Process {
    // SAFETY: Nobody who has one resets the machine.
    CURRENT.with(|current| unsafe { process(current.process.get()) })
}

impl Process {
    /// Its memory.
    pub fn mm(&self) -> Option<&mm::MmWithUser> {
        Some(&self.mm)
    }

    /// Its task.
    pub fn group_leader(&self) -> &task::Task {
        &self.task
    }
}

/// The current process.
#[macro_export]
macro_rules! current {
    () => {
        $crate::machine::current()
    };
}

/// The memory of processes.
pub mod mm {
    use crate::sync::aref::ARef;
    use core::ops::Deref;

    /// Memory that may be gone.
    pub struct Mm(pub(super) usize);

    /// Memory that is there.
    pub struct MmWithUser(pub(super) Mm);

    /// The same, until it is let go of.
    pub type MmWithUserAsync = MmWithUser;

    impl Mm {
        /// What C calls it by.
        pub fn as_raw(&self) -> *mut Self {
            core::ptr::from_ref(self).cast_mut()
        }

        /// Whose it is.
        pub fn number(&self) -> usize {
            self.0
        }

        /// Has it stay, if it is there.
        pub fn mmget_not_zero(&self) -> Option<ARef<MmWithUser>> {
            // SAFETY: The machine is there as long as its memory.
            Some(ARef::from(unsafe { &super::process(self.0).mm }))
        }
    }

    impl MmWithUser {
        /// To be let go of later.
        pub fn into_mmput_async(alive: ARef<Self>) -> ARef<MmWithUserAsync> {
            alive
        }
    }

    impl Deref for MmWithUser {
        type Target = Mm;

        fn deref(&self) -> &Mm {
            &self.0
        }
    }
}

/// Tasks.
pub mod task {
    /// What identifies one.
    pub type Pid = i32;

    /// A task.
    pub struct Task(pub(super) usize);

    impl Task {
        /// What C calls it by.
        pub fn as_ptr(&self) -> *mut Self {
            core::ptr::from_ref(self).cast_mut()
        }

        /// Its number.
        pub fn tgid_nr_ns(&self, _namespace: Option<()>) -> Pid {
            self.0 as Pid
        }
    }
}

/// The kernel's functions in C.
#[allow(non_camel_case_types, clippy::missing_safety_doc, missing_docs)]
pub mod bindings {
    use super::*;
    use crate::ffi::{
        c_int,
        c_ulong,
        c_void, //
    };

    /// A counter that C has.
    pub struct Counter {
        pub counter: Atomic<isize>,
    }

    pub struct user_struct {
        pub locked_vm: Counter,
    }

    #[derive(Clone, Copy)]
    pub struct page;

    pub struct iommu_user_data {
        pub type_: u32,
        pub uptr: *mut c_void,
        pub len: usize,
    }

    pub struct iommu_user_data_array {
        pub type_: u32,
        pub uptr: *mut c_void,
        pub entry_len: usize,
        pub entry_num: u32,
    }

    pub const CAP_IPC_LOCK: u32 = 14;

    pub unsafe fn capable(_cap: c_int) -> bool {
        with(|machine| machine.limit.get().is_none())
    }

    pub unsafe fn free_uid(_user: *mut user_struct) {}

    pub unsafe fn account_locked_vm(mm: *mut mm::Mm, npages: c_ulong, more: bool) -> c_int {
        let npages = npages as isize;
        // SAFETY: The caller has the memory.
        let process = unsafe { process((*mm).number()) };
        let change = if more { npages } else { -npages };
        process.locked.set(process.locked.get() + change);
        0
    }

    pub unsafe fn iommufd_get_current_user() -> *mut user_struct {
        core::ptr::from_ref(&current().user).cast_mut()
    }

    pub unsafe fn iommufd_user_is_current(user: *mut user_struct) -> bool {
        core::ptr::eq(&current().user, user)
    }

    pub unsafe fn iommufd_add_pinned_vm(mm: *mut mm::Mm, npages: isize) {
        // SAFETY: The caller has a reference.
        let process = unsafe { process((*mm).number()) };
        process.pinned.set(process.pinned.get() + npages);
    }

    pub unsafe fn iommufd_memlock_limit(_task: *mut task::Task) -> c_ulong {
        let pages = with(|machine| machine.limit.get()).unwrap_or(0);
        pages * crate::page::PAGE_SIZE
    }

    pub unsafe fn iommufd_lock_vm(
        mm: *mut mm::Mm,
        task: *mut task::Task,
        npages: c_ulong,
    ) -> c_int {
        // SAFETY: The caller has a reference.
        let all = unsafe { process((*mm).number()) }.locked.get() + npages as isize;
        // SAFETY: The task is there.
        if unsafe { iommufd_memlock_limit(task) } / crate::page::PAGE_SIZE < all as usize {
            return crate::error::code::ENOMEM.to_errno();
        }
        // SAFETY: As above.
        unsafe { account_locked_vm(mm, npages, true) }
    }
}

/// Addresses of userspace's.
pub mod uaccess {
    use core::ffi::c_void;

    /// One of them.
    #[derive(Clone, Copy)]
    pub struct UserPtr(usize);

    impl UserPtr {
        /// By its number.
        pub fn from_addr(addr: usize) -> Self {
            Self(addr)
        }

        /// So many bytes behind.
        pub fn wrapping_byte_add(self, more: usize) -> Self {
            Self(self.0.wrapping_add(more))
        }

        /// As C has it.
        pub fn as_mut_ptr(self) -> *mut c_void {
            core::ptr::without_provenance_mut(self.0)
        }
    }
}
