// SPDX-License-Identifier: GPL-2.0

//! What `space/mapping.rs` finds of the memory that is mapped somewhere.

use crate::{
    iova::IovaRange,
    kapi::{
        access_ops::Buffer,
        account::Accounting,
        device::OwnedDevice,
        domain::{
            Domain,
            Prot, //
        },
        memfd::MemoryFile,
        pin::FILE, //
    },
    space::{
        attach::{
            Onto,
            WantedHwpt, //
        },
        choose::WantedIova,
        hwpt::Hwpt,
        part::SharedTotals,
        Bars,
        IoPagetable,
        MapRequest,
        MapSource, //
    },
};
use kernel::{
    machine,
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc, //
};

const PAGE: u64 = PAGE_SIZE as u64;

const READ_ONLY: Prot = Prot {
    read: true,
    write: false,
    mmio: false,
};

const READ_WRITE: Prot = Prot {
    write: true,
    ..READ_ONLY
};

fn space() -> IoPagetable {
    machine::reset();
    let totals = SharedTotals::new().expect("memory");
    let all = range(0, 1 << 40);
    kernel::init::made(IoPagetable::new(1, all, false, totals))
}

fn range(first: u64, len: u64) -> IovaRange {
    IovaRange::with_len(first, len).expect("there are such addresses")
}

/// Whose memory: that of the process, or a file's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Process,
    File,
}

impl Whose {
    fn number(self) -> usize {
        match self {
            Self::Process => 0,
            Self::File => FILE,
        }
    }
}

/// Maps `len` of its bytes, from `start` on.
fn map(
    space: &IoPagetable,
    iova: u64,
    len: u64,
    (whose, start): (Whose, u64),
    prot: Prot,
) -> Result<u64> {
    let source = match whose {
        Whose::Process => MapSource::Process(start),
        Whose::File => MapSource::File(Arc::new(MemoryFile, GFP_KERNEL)?, start),
    };
    let request = MapRequest {
        source,
        prot,
        accounting: Accounting::User,
        bars: Bars::IfAllowed,
    };
    let wanted = WantedIova::Fixed(range(iova, len));
    space.map_at(wanted, &request).map(|(_, runs)| runs)
}

/// Maps what is mapped once more.
fn map_again(space: &IoPagetable, what: IovaRange, to: u64, prot: Prot) -> Result {
    let parts = space.parts(what)?;
    let wanted = WantedIova::Fixed(range(to, what.len()));
    space.map_parts(parts, wanted, prot).map(|_| ())
}

fn attach(space: &IoPagetable, dev: &OwnedDevice) -> Result<Arc<Hwpt>> {
    let onto = Onto {
        put: &mut |_: &Arc<Domain>| Ok(()),
        publish: &mut |_| (),
        before: None,
        is_allowed: true,
    };
    let wanted = WantedHwpt::Any(dev.number);
    Ok(space.attach(dev, &[dev], &wanted, onto)?.0)
}

fn detach(space: &IoPagetable, dev: &OwnedDevice, hwpt: Arc<Hwpt>) {
    let leaving = dev.device();
    space.detach(|dev| dev.same(&leaving), Some(hwpt), |_| ());
}

/// One that no IOMMU has.
fn untranslated() -> OwnedDevice {
    OwnedDevice {
        is_translated: false,
        ..OwnedDevice::new(2)
    }
}

/// The pieces of pages that some memory is made of.
fn pieces(whose: Whose, start: u64, len: u64) -> Vec<machine::Copied> {
    let mut pieces = Vec::new();
    let (mut at, end) = (start, start + len);
    while at < end {
        let here = (PAGE - at % PAGE).min(end - at);
        let pfn = machine::pfn(whose.number(), at / PAGE);
        pieces.push((pfn, (at % PAGE) as usize, here as usize));
        at += here;
    }
    pieces
}

/// Copies, and says what was.
fn copy(space: &IoPagetable, what: IovaRange, to_memory: bool) -> Result<Vec<machine::Copied>> {
    let mut bytes = vec![0u8; what.len() as usize];
    // SAFETY: They are there until they were copied.
    let buffer = unsafe { Buffer::new(bytes.as_mut_ptr().cast(), bytes.len(), to_memory) };
    machine::copied();
    space.copy(what, buffer)?;
    Ok(machine::copied())
}

/// How memory is there that is copied: pinned for a device, for that alone, or in parts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Pinned,
    Alone,
    Parts,
    PinnedParts,
}

#[test]
fn copied() -> Result {
    for whose in [Whose::Process, Whose::File] {
        for how in [How::Pinned, How::Alone, How::Parts, How::PinnedParts] {
            let space = space();
            let is_pinned = matches!(how, How::Pinned | How::PinnedParts);
            let dev = OwnedDevice::new(1);
            let hwpt = is_pinned.then(|| attach(&space, &dev)).transpose()?;
            // Where a domain has it, whole pages.
            let (start, len) = match is_pinned {
                true => (PAGE, 5 * PAGE),
                false => (PAGE + 0x234, 4 * PAGE + 77),
            };
            let iova = 16 * PAGE + start % PAGE;
            map(&space, iova, len, (whose, start), READ_WRITE)?;
            if matches!(how, How::Parts | How::PinnedParts) {
                map_again(&space, range(iova + PAGE, PAGE), 1 << 30, READ_WRITE)?;
            }
            for (skip, some) in [
                (0, 1),
                (0, len),
                (1, len - 1),
                (PAGE - 1, 2),
                (PAGE + 5, 2 * PAGE),
                (3 * PAGE, PAGE),
                (len - 1, 1),
            ] {
                let want = pieces(whose, start + skip, some);
                for to_memory in [false, true] {
                    let got = copy(&space, range(iova + skip, some), to_memory)?;
                    assert_eq!(got, want);
                }
            }
            if let Some(hwpt) = hwpt {
                detach(&space, &dev, hwpt);
            }
            space.destroy()?;
            assert_eq!(machine::left(), (0, 0, 0));
        }
    }
    Ok(())
}

#[test]
fn not_to_be_written() -> Result {
    for is_pinned in [false, true] {
        let space = space();
        let dev = OwnedDevice::new(1);
        let hwpt = is_pinned.then(|| attach(&space, &dev)).transpose()?;
        map(&space, 0, PAGE, (Whose::Process, 0), READ_ONLY)?;
        assert!(copy(&space, range(5, 7), false).is_ok());
        assert_eq!(copy(&space, range(5, 7), true), Err(EPERM));
        if let Some(hwpt) = hwpt {
            detach(&space, &dev, hwpt);
        }
        space.destroy()?;
    }
    Ok(())
}

/// How far memory goes on, for devices that no IOMMU has.
#[test]
fn in_one_piece() -> Result {
    const PAGES: u64 = 7;
    for in_parts in [false, true] {
        let space = space();
        let dev = untranslated();
        let hwpt = attach(&space, &dev)?;
        let iova = 16 * PAGE;
        map(
            &space,
            iova,
            PAGES * PAGE,
            (Whose::Process, PAGE),
            READ_WRITE,
        )?;
        if in_parts {
            map_again(&space, range(iova + 2 * PAGE, PAGE), 1 << 30, READ_WRITE)?;
        }
        for skip in [
            0,
            1,
            PAGE - 1,
            PAGE,
            PAGE + 9,
            2 * PAGE,
            4 * PAGE + 7,
            7 * PAGE - 1,
        ] {
            for most in [1, PAGE - 9, PAGE, 2 * PAGE, 9 * PAGE] {
                let (at, end) = (PAGE + skip, (1 + PAGES) * PAGE);
                // Pairs of pages are contiguous.
                let pair = (at / PAGE / 2 + 1) * 2 * PAGE;
                let pfn = machine::pfn(0, at / PAGE);
                let want = (pfn * PAGE + at % PAGE, most.min(pair.min(end) - at));
                let found = space.address_of(iova + skip, most)?;
                assert_eq!((found.address(), found.len()), want);
            }
        }
        detach(&space, &dev, hwpt);
        space.destroy()?;
    }
    Ok(())
}

/// What a domain comes to have, and how many runs that is.
#[test]
fn in_domains() -> Result {
    for whose in [Whose::Process, Whose::File] {
        let space = space();
        assert_eq!(map(&space, 0, 5 * PAGE, (whose, PAGE), READ_WRITE), Ok(0));
        let dev = OwnedDevice::new(1);
        let hwpt = attach(&space, &dev)?;
        let (runs, page) = (
            map(&space, 8 * PAGE, 3 * PAGE, (whose, 7 * PAGE), READ_WRITE)?,
            7,
        );
        // The first of them is the second of a pair.
        assert_eq!(runs, 2);
        let pfn = |page| machine::pfn(whose.number(), page);
        let want = (0..5).map(|number| (number, pfn(1 + number)));
        let want = want.chain((0..3).map(|number| (8 + number, pfn(page + number))));
        assert!(hwpt.domain().entries().into_iter().eq(want));
        assert_eq!(hwpt.domain().prot(), Some(READ_WRITE));
        map_again(&space, range(0, PAGE), 32 * PAGE, READ_ONLY)?;
        assert_eq!(hwpt.domain().prot(), Some(READ_ONLY));
        assert_eq!(hwpt.domain().entries().get(&32), Some(&pfn(1)));
        detach(&space, &dev, hwpt);
        space.destroy()?;
    }
    Ok(())
}

#[test]
fn rights() -> Result {
    let space = space();
    map(&space, 0, PAGE, (Whose::Process, 0), READ_ONLY)?;
    assert_eq!(
        map_again(&space, range(0, PAGE), PAGE, READ_WRITE),
        Err(EPERM)
    );
    map_again(&space, range(0, PAGE), PAGE, READ_ONLY)?;
    space.destroy()
}

/// Domains take whole pages only, whichever comes first.
#[test]
fn aligned() -> Result {
    for (iova, start, len, fits) in [
        (0, 0, PAGE, true),
        (0, 8, PAGE, false),
        (8, 8, PAGE - 8, false),
        (0, 0, PAGE - 8, false),
    ] {
        let space = space();
        let dev = OwnedDevice::new(1);
        map(&space, iova, len, (Whose::Process, start), READ_WRITE)?;
        let attached = attach(&space, &dev);
        assert_eq!(attached.is_ok(), fits);
        if let Ok(hwpt) = attached {
            detach(&space, &dev, hwpt);
        }
        assert_eq!(space.unmap(range(iova, len))?.bytes, len);
        let hwpt = attach(&space, &dev)?;
        let mapped = map(&space, iova, len, (Whose::Process, start), READ_WRITE);
        assert_eq!(mapped.map(|_| ()), if fits { Ok(()) } else { Err(EINVAL) });
        detach(&space, &dev, hwpt);
        space.destroy()?;
    }
    Ok(())
}

/// Memory is cut where one of its pages begins.
#[test]
fn cut() -> Result {
    for start in [0, 0x234] {
        for (skip, can_be) in [
            (PAGE - start, true),
            (2 * PAGE - start, true),
            (PAGE, start == 0),
            (PAGE + 1, false),
        ] {
            let space = space();
            map(&space, 64, 3 * PAGE, (Whose::Process, start), READ_WRITE)?;
            let cut = space.cut_at_ends(range(64 + skip, 1 << 20));
            assert_eq!(cut.is_ok(), can_be);
            if can_be {
                assert_eq!(space.unmap(range(64, skip))?.bytes, skip);
            }
            space.destroy()?;
        }
    }
    Ok(())
}
