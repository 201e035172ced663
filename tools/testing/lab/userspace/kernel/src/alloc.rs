// SPDX-License-Identifier: GPL-2.0

//! Memory, of which there is enough.

use core::{
    fmt,
    mem::MaybeUninit,
    ops::{
        Deref,
        DerefMut, //
    },
};

/// There is no memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AllocError;

/// Whose memory, and how hard it is looked for, makes no difference here.
#[derive(Clone, Copy)]
pub struct Flags;

impl core::ops::BitOr for Flags {
    type Output = Self;

    fn bitor(self, _: Self) -> Self {
        self
    }
}

/// The flags there are.
pub mod flags {
    #![allow(missing_docs)]
    use super::Flags;
    pub const GFP_KERNEL: Flags = Flags;
    pub const GFP_KERNEL_ACCOUNT: Flags = Flags;
    pub const __GFP_NOWARN: Flags = Flags;
}

/// A vector is full. It gives back what was to be put there.
pub struct PushError<T>(pub T);

impl<T> fmt::Debug for PushError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PushError")
    }
}

impl<T> From<PushError<T>> for crate::error::Error {
    fn from(_: PushError<T>) -> Self {
        crate::error::code::EINVAL
    }
}

/// A box.
pub struct KBox<T>(Box<T>);

impl<T> KBox<T> {
    /// With `value` in it.
    pub fn new(value: T, _: Flags) -> Result<Self, AllocError> {
        Ok(Self(Box::new(value)))
    }

    /// With nothing in it yet.
    pub fn new_uninit(flags: Flags) -> Result<KBox<MaybeUninit<T>>, AllocError> {
        KBox::new(MaybeUninit::uninit(), flags)
    }

    /// What is in it.
    pub fn into_inner(this: Self) -> T {
        *this.0
    }
}

impl<T> KBox<MaybeUninit<T>> {
    /// Puts `value` there.
    pub fn write(_room: Self, value: T) -> KBox<T> {
        KBox(Box::new(value))
    }
}

impl<T> Deref for KBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for KBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// A vector that has the room that it was given, and no more.
pub struct KVec<T> {
    items: Vec<T>,
    room: usize,
}

/// The same, of memory that need not be contiguous.
pub type KVVec<T> = KVec<T>;

impl<T> Default for KVec<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> KVec<T> {
    /// Nothing, and no room.
    pub const fn new() -> Self {
        Self {
            items: Vec::new(),
            room: 0,
        }
    }

    /// With room for so many.
    pub fn with_capacity(room: usize, flags: Flags) -> Result<Self, AllocError> {
        let mut new = Self::new();
        new.reserve(room, flags)?;
        Ok(new)
    }

    /// Makes room for `more`.
    pub fn reserve(&mut self, more: usize, _: Flags) -> Result<(), AllocError> {
        let wanted = self.items.len() + more;
        if wanted > self.room {
            self.room = wanted;
        }
        Ok(())
    }

    /// Appends one.
    pub fn push(&mut self, item: T, flags: Flags) -> Result<(), AllocError> {
        self.reserve(1, flags)?;
        self.items.push(item);
        Ok(())
    }

    /// Appends one, if there is room.
    pub fn push_within_capacity(&mut self, item: T) -> Result<(), PushError<T>> {
        if self.items.len() == self.room {
            return Err(PushError(item));
        }
        self.items.push(item);
        Ok(())
    }

    /// All of them.
    pub fn as_slice(&self) -> &[T] {
        &self.items
    }

    /// Takes the last.
    pub fn pop(&mut self) -> Option<T> {
        self.items.pop()
    }

    /// Drops all.
    pub fn clear(&mut self) {
        self.items.clear();
    }

    /// Drops those that are not to be kept.
    pub fn retain(&mut self, keep: impl FnMut(&mut T) -> bool) {
        self.items.retain_mut(keep);
    }
}

impl<T: Clone> KVec<T> {
    /// So many times the same.
    pub fn from_elem(item: T, count: usize, _: Flags) -> Result<Self, AllocError> {
        Ok(Self {
            items: vec![item; count],
            room: count,
        })
    }
}

impl<T> Deref for KVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<T> DerefMut for KVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items
    }
}

impl<T> IntoIterator for KVec<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a KVec<T> {
    type Item = &'a T;
    type IntoIter = core::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

impl<'a, T> IntoIterator for &'a mut KVec<T> {
    type Item = &'a mut T;
    type IntoIter = core::slice::IterMut<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.iter_mut()
    }
}

impl<T: fmt::Debug> fmt::Debug for KVec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.items.fmt(f)
    }
}
