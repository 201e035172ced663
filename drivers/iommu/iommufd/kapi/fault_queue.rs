// SPDX-License-Identifier: GPL-2.0

//! Queues of page faults: what waits to be read, and what was read and waits for its answer.
//!
//! Groups of faults are never outside of their queue, and those of an attachment are all answered
//! when it ends: so whatever is answered has its device still. That is why this is here.

use super::{
    fault::{
        Answer,
        FaultGroup,
        FaultRow,
        PageFault, //
    },
    ids::{
        IdTable,
        ReservedId, //
    }, //
};
use core::mem::replace;
use kernel::{
    bindings,
    new_mutex,
    prelude::*,
    static_lock_class,
    sync::{
        poll::{
            PollCondVar,
            PollCondVarBox, //
        },
        Arc,
        Mutex, //
    }, //
};

/// A queue of page faults, which whoever reads it answers.
#[pin_data]
pub(crate) struct FaultQueue {
    /// Held while anything of this is changed, and while faults are answered, but never while
    /// userspace is waited for.
    #[pin]
    state: Mutex<State>,
    /// What was read, by cookies.
    #[pin]
    unanswered: IdTable<Unanswered>,
    waiters: PollCondVarBox,
}

struct State {
    unread: FaultRow,
    /// How many groups were read, again ones included.
    read: u64,
    /// Whether somebody will read and answer what comes.
    is_open: bool,
}

/// A group that was read: as the how-manieth, as its cookie may be that of another one later.
struct Unanswered {
    group: FaultGroup,
    number: u64,
}

/// A group that is being read. Dropping this has it be unread again, and before all others, unless
/// it was answered meanwhile.
pub(crate) struct Reading<'a> {
    queue: &'a FaultQueue,
    cookie: u32,
    number: u64,
}

impl Reading<'_> {
    /// It was read.
    pub(crate) fn done(self) {
        core::mem::forget(self);
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.state.lock();
        let number = self.number;
        let is_it = |other: &Unanswered| match other.number == number {
            true => Ok(()),
            false => Err(ENOENT),
        };
        if let Ok(gone) = self.queue.unanswered.retire(self.cookie, is_it) {
            state.unread.push_first(gone.into_object().group);
            drop(state);
            self.queue.waiters.notify_all();
        }
    }
}

impl FaultQueue {
    /// An empty queue.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let state = State {
            unread: FaultRow::new(),
            read: 0,
            is_open: true,
        };
        let waiters = PollCondVarBox::new(c"iommufd_fault_waiters", static_lock_class!())?;
        Arc::pin_init(
            pin_init!(Self {
                state <- new_mutex!(state, "iommufd_faults"),
                unanswered <- IdTable::new(),
                waiters,
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Adds a group behind all others; it is invalid if nobody is there who will read it.
    pub(super) fn add(&self, group: FaultGroup) {
        let mut state = self.state.lock();
        if state.is_open {
            state.unread.push(group);
            drop(state);
            self.waiters.notify_all();
        } else {
            // With the lock held: its attachment may be about to end, and waits for that.
            drop(group);
        }
    }

    /// Says of all groups of an attachment that they are invalid. The IOMMU has none of it any
    /// more.
    pub(super) fn answer_all_of(&self, handle: *const bindings::iommu_attach_handle) {
        let mut state = self.state.lock();
        let mut others = replace(&mut state.unread, FaultRow::new());
        while let Some(group) = others.pop() {
            if !group.is_of(handle) {
                state.unread.push(group);
            }
        }
        self.answer_read(|group| group.is_of(handle));
    }

    /// Nobody reads or answers any more: whatever is there is invalid, and so is what comes.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.is_open = false;
        drop(replace(&mut state.unread, FaultRow::new()));
        self.answer_read(|_| true);
    }

    /// Says of some of the groups that were read that they are invalid. The state is locked.
    fn answer_read(&self, which: impl Fn(&FaultGroup) -> bool) {
        let mut next = Some(1);
        while let Some((cookie, is_one)) =
            next.and_then(|next| self.unanswered.look_from(next, |read| which(&read.group)))
        {
            if is_one {
                drop(self.unanswered.retire(cookie, |_| Ok(())));
            }
            next = cookie.checked_add(1);
        }
    }

    /// Begins to read the group before all others, if there is one: its faults replace what is in
    /// `faults`. It can be answered from here on.
    ///
    /// # Errors
    ///
    /// `EINVAL`: it has more faults than there is `room` for. `ENOMEM`; `ENOSPC`: too many are not
    /// answered.
    pub(crate) fn read(
        &self,
        room: usize,
        faults: &mut KVVec<PageFault>,
    ) -> Result<Option<Reading<'_>>> {
        let mut state = self.state.lock();
        let Some(group) = state.unread.pop() else {
            return Ok(None);
        };
        let id = match self.prepare(&group, room, faults) {
            Ok(id) => id,
            Err(e) => {
                state.unread.push_first(group);
                return Err(e);
            }
        };
        let (cookie, number) = (id.number(), state.read);
        group.tell(cookie, faults);
        state.read = number.wrapping_add(1);
        id.publish(Unanswered { group, number });
        Ok(Some(Reading {
            queue: self,
            cookie,
            number,
        }))
    }

    /// Makes room in `faults` for a group that is about to be read, and has a cookie for it.
    fn prepare(
        &self,
        group: &FaultGroup,
        room: usize,
        faults: &mut KVVec<PageFault>,
    ) -> Result<ReservedId<'_, Unanswered>> {
        if group.len() > room {
            return Err(EINVAL);
        }
        faults.clear();
        faults.reserve(group.len(), GFP_KERNEL_ACCOUNT)?;
        self.unanswered.reserve()
    }

    /// Answers a group that was read.
    ///
    /// # Errors
    ///
    /// `EINVAL`: there is none of that cookie, or not any more.
    pub(crate) fn answer(&self, cookie: u32, answer: Answer) -> Result {
        let _state = self.state.lock();
        let gone = self.unanswered.retire(cookie, |_| Ok(()));
        gone.map_err(|_| EINVAL)?.into_object().group.answer(answer);
        Ok(())
    }

    /// Whether there is something to be read.
    pub(crate) fn has_some(&self) -> bool {
        !self.state.lock().unread.is_empty()
    }

    /// Those who wait for something to be read.
    pub(crate) fn waiters(&self) -> &PollCondVar {
        &self.waiters
    }
}
