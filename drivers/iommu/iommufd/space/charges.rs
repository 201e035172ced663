// SPDX-License-Identifier: GPL-2.0

//! What is charged for all that is mapped, when another process is to pay for it.

use super::IoPagetable;
use crate::kapi::{
    account::Takeover,
    device_memory::DevicePart,
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
    /// `EINVAL`: something is a BAR that a process has mapped, with which it goes. Those of
    /// [`Takeover::note`]; `EINTR`. Some may be noted then.
    pub(crate) fn note_charges(&self, takeover: &mut Takeover) -> Result {
        // No map or unmap is under way, so that the areas may be locked for long.
        let _domains = self.domains.write_killable()?;
        let mut space = self.space.lock();
        for mapped in space.areas.contents_mut() {
            task::resched_killable()?;
            let device = mapped.mapping().device();
            if device.is_some_and(DevicePart::is_of_process) {
                return Err(EINVAL);
            }
            mapped.each_charge(&mut |charge| takeover.note(charge))?;
        }
        Ok(())
    }

    /// Has `takeover` finish with the charge for each area, and be who mapped last.
    pub(crate) fn finish_charges(&self, takeover: &mut Takeover) {
        let _domains = self.domains.write();
        let mut space = self.space.lock();
        for mapped in space.areas.contents_mut() {
            task::resched();
            let finished = mapped.each_charge(&mut |charge| {
                takeover.finish(charge);
                Ok(())
            });
            warn_on!(finished.is_err());
        }
        if let (Some(mapper), Some(payer)) = (&mut space.payer, takeover.payer()) {
            *mapper = payer.clone();
        }
    }
}
