// SPDX-License-Identifier: GPL-2.0

//! What `space/domains.rs` has domains and devices object to.

use crate::{
    iova::IovaRange,
    kapi::{
        device::OwnedDevice,
        domain::Domain, //
    },
    space::{
        domains::Domains,
        hwpt::{
            Hwpt,
            Kind, //
        }, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

fn range(first: u64, last: u64) -> IovaRange {
    IovaRange::new(first, last).expect("it is not empty")
}

/// A domain that translates `aperture` in units of `page`.
fn add(domains: &mut Domains, aperture: IovaRange, page: u64) -> Result<Arc<Hwpt>> {
    let dev = OwnedDevice {
        aperture,
        page,
        ..OwnedDevice::new(1)
    };
    let hwpt = Hwpt::new(1, Domain::new(&dev, 0, None)?, Kind::Auto, false)?;
    domains.list.reserve(1, GFP_KERNEL)?;
    domains.add(hwpt.clone(), 1);
    Ok(hwpt)
}

fn reserve(domains: &mut Domains, range: IovaRange) -> Result {
    let mut more = KVVec::new();
    more.push((OwnedDevice::new(1).device(), range), GFP_KERNEL)?;
    domains.reserve_for(&more)?;
    domains.add_reserved(more);
    Ok(())
}

/// Two domains, one with doorbells, and a region that a device wants left out.
fn some() -> Result<Domains> {
    let mut domains = Domains::new();
    let hwpt = add(&mut domains, range(10, 99), 4)?;
    domains.slot_mut(&hwpt)?.doorbells = Some(range(40, 49));
    add(&mut domains, range(0, 79), 8)?;
    reserve(&mut domains, range(60, 69))?;
    Ok(domains)
}

#[test]
fn accepted() -> Result {
    let domains = some()?;
    for (first, last, accepted) in [
        (10, 39, true),
        (9, 39, false),
        (50, 59, true),
        (70, 79, true),
        (70, 80, false),
        (39, 40, false),
        (49, 50, false),
        (59, 60, false),
        (69, 70, false),
    ] {
        assert_eq!(domains.accept(range(first, last)), accepted);
    }
    assert!(Domains::new().accept(IovaRange::ALL));
    Ok(())
}

#[test]
fn usable() -> Result {
    let domains = some()?;
    let more = [(OwnedDevice::new(2).device(), range(15, 19))];
    let usable = domains.usable_ranges(range(12, 75), &more)?;
    let want = [range(12, 14), range(20, 39), range(50, 59), range(70, 75)];
    assert_eq!(&*usable, &want);
    assert!(domains.usable_ranges(range(80, 99), &[])?.is_empty());
    Ok(())
}

#[test]
fn chosen() -> Result {
    let mut domains = some()?;
    let anywhere = domains.choosable(IovaRange::ALL)?;
    let usable = [range(10, 39), range(50, 59), range(70, 79)];
    assert_eq!(&*anywhere.ranges, &usable);
    for (first, last) in [(0, 9), (39, 50), (59, 59), (75, 99)] {
        domains.allowed.add(range(first, last))?;
    }
    let some = domains.choosable(IovaRange::ALL)?;
    let want = [range(39, 39), range(50, 50), range(59, 59), range(75, 79)];
    assert_eq!(&*some.ranges, &want);
    assert_eq!(some.generation, domains.generation());
    Ok(())
}

#[test]
fn generations() -> Result {
    let mut domains = Domains::new();
    let mut seen = vec![0, domains.generation()];
    let hwpt = add(&mut domains, IovaRange::ALL, 1)?;
    seen.push(domains.generation());
    reserve(&mut domains, range(60, 69))?;
    seen.push(domains.generation());
    domains.allowed.add(range(0, 9))?;
    seen.push(domains.generation());
    domains.remove(&hwpt);
    seen.push(domains.generation());
    assert!(seen.is_sorted_by(|one, next| one < next));
    Ok(())
}

#[test]
fn aligned() -> Result {
    let mut domains = Domains::new();
    assert_eq!(domains.alignment(), 1);
    let small = add(&mut domains, IovaRange::ALL, 4)?;
    assert_eq!(domains.alignment(), 4);
    let large = add(&mut domains, IovaRange::ALL, 16)?;
    assert_eq!(domains.alignment(), 16);
    domains.remove(&large);
    assert_eq!(domains.alignment(), 4);
    assert_eq!(domains.find(&small), Ok(()));
    assert_eq!(domains.find(&large), Err(ENOENT));
    assert!(domains.slot_mut(&large).is_err());
    Ok(())
}

#[test]
fn leftovers() -> Result {
    let mut domains = Domains::new();
    add(&mut domains, IovaRange::ALL, 1)?;
    let hwpt = add(&mut domains, IovaRange::ALL, 1)?;
    assert!(!domains.may_still_map(IovaRange::ALL));
    hwpt.domain().leave_over(range(10, 19));
    for (first, last, may) in [(0, 9, false), (19, 20, true), (20, 29, false)] {
        assert_eq!(domains.may_still_map(range(first, last)), may);
    }
    Ok(())
}
