// SPDX-License-Identifier: GPL-2.0

//! What is to be done at the end of a scope.

/// Does it when it is dropped.
pub struct ScopeGuard<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> ScopeGuard<F> {
    /// With what is to be done.
    pub fn new(work: F) -> Self {
        Self(Some(work))
    }

    /// Lets it be.
    pub fn dismiss(mut self) {
        self.0 = None;
    }
}

impl<F: FnOnce()> Drop for ScopeGuard<F> {
    fn drop(&mut self) {
        if let Some(work) = self.0.take() {
            work();
        }
    }
}
