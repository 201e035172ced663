// SPDX-License-Identifier: GPL-2.0

//! Domains that come and go with the groups that are on them, and their ids.

use crate::{
    objects::{
        ioas::Ioas,
        table::{
            Object,
            Objects,
            ReservedId,
            RetiredId, //
        }, //
    },
    space::hwpt::Hwpt, //
};
use kernel::{
    prelude::*,
    sync::Arc,
    warn_on, //
};

/// The ids of the domains that come and go with a group's move.
pub(crate) struct HwptIds<'a> {
    objects: &'a Objects,
    /// For a domain that may have to be made, and the address space that it would belong to.
    fresh: Option<(ReservedId<'a>, Arc<Ioas>)>,
    gone: Option<RetiredId<'a>>,
}

impl<'a> HwptIds<'a> {
    /// For a move that needs no domain to be made.
    pub(crate) fn new(objects: &'a Objects) -> Self {
        Self {
            objects,
            fresh: None,
            gone: None,
        }
    }

    /// For a move that may need a domain of `ioas` to be made. Returns the id that it would get:
    /// whatever can fail is done before the group moves.
    ///
    /// # Errors
    ///
    /// Those of [`Objects::reserve_id`].
    pub(crate) fn with_fresh(objects: &'a Objects, ioas: &Arc<Ioas>) -> Result<(Self, u32)> {
        let id = objects.reserve_id()?;
        let number = id.number();
        let ids = Self {
            fresh: Some((id, ioas.clone())),
            ..Self::new(objects)
        };
        Ok((ids, number))
    }

    /// What the ids are in.
    pub(crate) fn objects(&self) -> &'a Objects {
        self.objects
    }

    /// Lets a domain that was made be found. The group that is on it uses its address space.
    pub(crate) fn publish(&mut self, hwpt: &Arc<Hwpt>) {
        match self.fresh.take() {
            Some((id, ioas)) => id.give_to(Object::Hwpt(hwpt.clone(), ioas), None),
            None => {
                warn_on!(true);
            }
        }
    }

    /// Sees to it that nobody finds a domain of `ioas` that is about to go. Its id is free when
    /// this is dropped.
    pub(crate) fn retire(&mut self, hwpt: &Arc<Hwpt>, ioas: &Arc<Ioas>) {
        let object = Object::Hwpt(hwpt.clone(), ioas.clone());
        self.gone = self.objects.retire(&object).ok();
        // What is in the list of its space is in the table.
        warn_on!(self.gone.is_none());
    }
}
