// SPDX-License-Identifier: GPL-2.0

//! Sorted maps, whose nodes are allocated beforehand: a sorted list does for what a test has.

use crate::alloc::{
    AllocError,
    Flags,
    KBox, //
};
use core::mem::MaybeUninit;

/// A map.
pub struct RBTree<K, V>(Vec<RBTreeNode<K, V>>);

/// A key and its value.
pub struct RBTreeNode<K, V>(Box<(K, V)>);

/// Memory for a node.
pub struct RBTreeNodeReservation<K, V>(KBox<MaybeUninit<(K, V)>>);

impl<K, V> RBTreeNodeReservation<K, V> {
    /// Allocates it.
    pub fn new(flags: Flags) -> Result<Self, AllocError> {
        KBox::<(K, V)>::new_uninit(flags).map(Self)
    }

    /// Puts something there.
    pub fn into_node(self, key: K, value: V) -> RBTreeNode<K, V> {
        RBTreeNode(Box::new(KBox::into_inner(KBox::write(
            self.0,
            (key, value),
        ))))
    }
}

impl<K, V> RBTreeNode<K, V> {
    /// What is there.
    pub fn to_key_value(self) -> (K, V) {
        *self.0
    }
}

impl<K, V> RBTree<K, V> {
    /// Nothing.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|node| (&node.0 .0, &node.0 .1))
    }

    /// In order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.0.iter_mut().map(|node| {
            let (key, value) = &mut *node.0;
            (&*key, value)
        })
    }

    /// In order.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.iter_mut().map(|(_, value)| value)
    }
}

impl<K: Ord, V> RBTree<K, V> {
    fn find(&self, key: &K) -> Result<usize, usize> {
        self.0.binary_search_by(|node| node.0 .0.cmp(key))
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.find(key).ok().map(|at| &self.0[at].0 .1)
    }

    /// The value of a key.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.find(key).ok().map(|at| &mut self.0[at].0 .1)
    }

    /// A key that is there.
    pub fn find_mut(&mut self, key: &K) -> Option<OccupiedEntry<'_, K, V>> {
        let at = self.find(key).ok()?;
        Some(OccupiedEntry { tree: self, at })
    }

    /// Returns what it displaces.
    pub fn insert(&mut self, node: RBTreeNode<K, V>) -> Option<RBTreeNode<K, V>> {
        match self.find(&node.0 .0) {
            Ok(at) => Some(core::mem::replace(&mut self.0[at], node)),
            Err(at) => {
                self.0.insert(at, node);
                None
            }
        }
    }

    /// Allocates as well.
    pub fn try_create_and_insert(
        &mut self,
        key: K,
        value: V,
        flags: Flags,
    ) -> Result<Option<RBTreeNode<K, V>>, AllocError> {
        Ok(self.insert(RBTreeNodeReservation::new(flags)?.into_node(key, value)))
    }

    /// Takes a node out.
    pub fn remove_node(&mut self, key: &K) -> Option<RBTreeNode<K, V>> {
        self.find(key).ok().map(|at| self.0.remove(at))
    }

    /// Takes a node out, and drops all of it but the value.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.remove_node(key).map(|node| node.to_key_value().1)
    }

    fn bound(&self, key: &K) -> Option<usize> {
        let at = self.find(key).unwrap_or_else(|at| at);
        (at < self.0.len()).then_some(at)
    }

    /// The first that has this key or a larger one.
    pub fn cursor_lower_bound(&self, key: &K) -> Option<Cursor<'_, K, V>> {
        self.bound(key).map(|at| Cursor { tree: self, at })
    }

    /// The same, to change it.
    pub fn cursor_lower_bound_mut(&mut self, key: &K) -> Option<CursorMut<'_, K, V>> {
        self.bound(key).map(|at| CursorMut { tree: self, at })
    }

    /// The first.
    pub fn cursor_front(&self) -> Option<Cursor<'_, K, V>> {
        (!self.is_empty()).then_some(Cursor { tree: self, at: 0 })
    }

    /// The last.
    pub fn cursor_back(&self) -> Option<Cursor<'_, K, V>> {
        let at = self.0.len().checked_sub(1)?;
        Some(Cursor { tree: self, at })
    }
}

/// A node that is there.
pub struct OccupiedEntry<'a, K, V> {
    tree: &'a mut RBTree<K, V>,
    at: usize,
}

impl<K, V> OccupiedEntry<'_, K, V> {
    /// Its value.
    pub fn get(&self) -> &V {
        &self.tree.0[self.at].0 .1
    }

    /// The same, to change it.
    pub fn get_mut(&mut self) -> &mut V {
        &mut self.tree.0[self.at].0 .1
    }

    /// Takes it out.
    pub fn remove_node(self) -> RBTreeNode<K, V> {
        self.tree.0.remove(self.at)
    }
}

/// A place in the order.
pub struct Cursor<'a, K, V> {
    tree: &'a RBTree<K, V>,
    at: usize,
}

impl<'a, K, V> Cursor<'a, K, V> {
    /// What is there.
    pub fn current(&self) -> (&'a K, &'a V) {
        let node = &self.tree.0[self.at].0;
        (&node.0, &node.1)
    }
}

/// A place in the order.
pub struct CursorMut<'a, K, V> {
    tree: &'a mut RBTree<K, V>,
    at: usize,
}

impl<K, V> CursorMut<'_, K, V> {
    /// What is there.
    pub fn current(&self) -> (&K, &V) {
        let node = &self.tree.0[self.at].0;
        (&node.0, &node.1)
    }

    /// What is there.
    pub fn current_mut(&mut self) -> (&K, &mut V) {
        let (key, value) = &mut *self.tree.0[self.at].0;
        (&*key, value)
    }

    /// Goes on to the next.
    pub fn move_next(self) -> Option<Self> {
        let at = self.at + 1;
        (at < self.tree.0.len()).then_some(Self { at, ..self })
    }

    /// Takes it out, and goes on to one beside it.
    pub fn remove_current(self) -> (Option<Self>, RBTreeNode<K, V>) {
        let node = self.tree.0.remove(self.at);
        let at = self.at.min(self.tree.0.len().saturating_sub(1));
        let rest = (!self.tree.is_empty()).then_some(Self { at, ..self });
        (rest, node)
    }
}
