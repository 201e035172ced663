// SPDX-License-Identifier: GPL-2.0

//! Where `kapi/msi.rs` has interrupts written to.

use crate::{
    iova::IovaRange,
    kapi::{
        device::{
            OwnedDevice,
            Reserved, //
        },
        domain::Domain,
        msi::SwMsi, //
    }, //
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};

const PAGE: u64 = PAGE_SIZE as u64;

fn pages(first: u64, count: u64) -> IovaRange {
    IovaRange::with_len(first * PAGE, count * PAGE).expect("there are such pages")
}

fn domain() -> Domain {
    Domain::new(&OwnedDevice::new(1), 0, None).expect("memory")
}

fn learned(regions: &[Reserved]) -> SwMsi {
    let mut place = SwMsi::None;
    regions.iter().for_each(|region| place.learn(region));
    place
}

#[test]
fn regions() {
    let (software, hardware) = (pages(4, 3), pages(9, 1));
    let other = Reserved::SoftwareMsi(pages(20, 1));
    for (regions, want) in [
        (&[][..], None),
        (&[Reserved::Range(software)], None),
        (&[Reserved::SoftwareMsi(software)], Some(software)),
        (&[Reserved::SoftwareMsi(software), other], Some(software)),
        (&[Reserved::Msi(hardware)], Some(hardware)),
        (
            &[Reserved::SoftwareMsi(software), Reserved::Msi(hardware)],
            Some(hardware),
        ),
        (
            &[Reserved::Msi(hardware), Reserved::SoftwareMsi(software)],
            Some(hardware),
        ),
        (
            &[Reserved::Msi(hardware), Reserved::Msi(pages(8, 1))],
            Some(hardware),
        ),
    ] {
        assert_eq!(learned(regions).region(), want);
    }
}

#[test]
fn set_up() {
    let software = learned(&[Reserved::SoftwareMsi(pages(4, 3))]);
    for (before, base) in [
        (None, Ok(4)),
        (Some(0), Ok(4)),
        (Some(1), Ok(5)),
        (Some(2), Ok(6)),
        (Some(3), Err(ENOSPC)),
    ] {
        let (old, new) = (domain(), domain());
        for number in 0..before.unwrap_or(0) {
            old.add_doorbell((4 + number) * PAGE, 100 + number);
        }
        let old = before.map(|_| &old);
        let result = software.set_up(&new, old);
        assert_eq!(result, base.map(|_| ()));
        assert_eq!(new.sw_msi().ok_or(ENOSPC), base.map(|page| page * PAGE));
        // What the old one has is in the new one; what comes then is not in the old one.
        for number in 0..before.unwrap_or(0) {
            assert_eq!(new.translate((4 + number) * PAGE), Some(100 + number));
        }
        assert!(software.is_alike(&new, old));
        if before == Some(1) {
            new.add_doorbell(5 * PAGE, 200);
            assert!(software.is_alike(&new, old) && !software.is_alike(&domain(), old));
            assert!(!old.is_some_and(|old| software.is_alike(old, Some(&new))));
        }
    }
}

#[test]
fn of_hardware() {
    // Any address will do, and none is in the domain.
    let hardware = learned(&[Reserved::Msi(pages(9, 1))]);
    let (old, new) = (domain(), domain());
    old.add_doorbell(9 * PAGE, 100);
    assert_eq!(hardware.set_up(&new, Some(&old)), Ok(()));
    assert_eq!(new.sw_msi(), Some(9 * PAGE));
    assert_eq!(new.translate(9 * PAGE), None);
    assert!(hardware.is_alike(&new, Some(&old)));
    let none = SwMsi::None;
    assert_eq!(none.set_up(&domain(), Some(&old)), Ok(()));
    assert!(none.is_alike(&domain(), Some(&old)));
}
