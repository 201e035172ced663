// SPDX-License-Identifier: GPL-2.0

//! What is charged for all that is mapped, when another process is to pay for it.

use super::IoPagetable;
use crate::kapi::{
    account::Takeover,
    task, //
};
use kernel::{
    prelude::*,
    warn_on, //
};

impl IoPagetable {
    /// Notes the charge for each area in `takeover`.
    ///
    /// # Errors
    ///
    /// `EINVAL`: something is a device's memory. Those of [`Takeover::note`]; `EINTR`. Some may be
    /// noted then.
    pub(crate) fn note_charges(&self, takeover: &mut Takeover) -> Result {
        // No map or unmap is under way, so that the areas may be locked for long.
        let _domains = self.domains.write_killable()?;
        let mut space = self.space.lock();
        for mapped in space.areas.contents_mut() {
            task::resched_killable()?;
            mapped.each_charge(&mut |charge| takeover.note(charge))?;
        }
        Ok(())
    }

    /// Has `takeover` finish with the charge for each area.
    pub(crate) fn finish_charges(&self, takeover: &mut Takeover) {
        let _domains = self.domains.write();
        let mut space = self.space.lock();
        for mapped in space.areas.contents_mut() {
            task::resched();
            if mapped.mapping().device().is_none() {
                let finished = mapped.each_charge(&mut |charge| {
                    takeover.finish(charge);
                    Ok(())
                });
                warn_on!(finished.is_err());
            }
        }
    }
}
