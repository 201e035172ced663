// SPDX-License-Identifier: GPL-2.0

//! Who meets whom.

use super::{
    stage::Stage,
    Case, //
};
use kernel::prelude::*;

/// With a device, and four pages mapped in two areas.
fn attached(stage: &Stage) {
    stage.attach(1).expect("attach");
    mapped(stage);
}

/// Four pages mapped in two areas, and no device.
fn mapped(stage: &Stage) {
    stage.map(0, 2, 0).expect("map");
    stage.map(2, 2, 3).expect("map");
}

fn alone(stage: &Stage) {
    stage.attach(1).expect("attach");
}

pub(super) const CASES: &[Case] = &[
    Case {
        name: "map-map",
        about: "two maps that overlap, with a device: one of them is first, the other fails",
        begin: alone,
        threads: &[
            |stage| stage.note("low", stage.map(0, 2, 0)),
            |stage| stage.note("high", stage.map(1, 2, 4)),
        ],
        end: |stage| {
            let (low, high) = (stage.noted("low"), stage.noted("high"));
            assert!(low.is_ok() != high.is_ok());
            assert_eq!(low.and(high), Err(EEXIST));
        },
        ..Case::DEFAULT
    },
    Case {
        name: "map-unmap",
        about: "an unmap, and a map of the same pages, which waits for it or fails",
        begin: attached,
        threads: &[
            |stage| stage.note("map", stage.map(0, 2, 5)),
            |stage| stage.note("unmap", stage.unmap(0, 2)),
        ],
        end: |stage| {
            assert_eq!(stage.noted("unmap"), Ok(2));
            assert!(matches!(stage.noted("map"), Ok(_) | Err(EEXIST)));
        },
        ..Case::DEFAULT
    },
    Case {
        name: "unmap-unmap",
        about: "an unmap of one area, and of all: each page is unmapped by one of them",
        begin: attached,
        threads: &[
            |stage| stage.note("one", stage.unmap(2, 2)),
            |stage| stage.note("all", stage.unmap(0, 4)),
        ],
        end: |stage| {
            let both = stage
                .noted("one")
                .and_then(|one| Ok(one + stage.noted("all")?));
            assert_eq!(both, Ok(4));
        },
        ..Case::DEFAULT
    },
    Case {
        name: "attach-map",
        about: "the first device comes, for which all is pinned, during a map and an unmap",
        begin: mapped,
        threads: &[
            |stage| drop(stage.attach(1).expect("attach")),
            |stage| {
                stage.map(4, 2, 6).expect("map");
                stage.note("unmap", stage.unmap(0, 2));
            },
        ],
        ..Case::DEFAULT
    },
    Case {
        name: "attach-fails",
        about: "as attach-map, but some page cannot be mapped for the device",
        begin: mapped,
        threads: &[
            |stage| {
                crate::kapi::domain::fail_next(Some(stage.variant));
                let attached = stage.attach(1);
                assert!(matches!(attached, Ok(_) | Err(ENOMEM)));
            },
            |stage| {
                assert!(matches!(stage.map(4, 2, 6), Ok(_) | Err(ENOMEM)));
                stage.note("unmap", stage.unmap(0, 2));
            },
        ],
        variants: 5,
        ..Case::DEFAULT
    },
    Case {
        name: "detach-map",
        about: "the last device goes, with which all is unpinned, during a map and an unmap",
        begin: attached,
        threads: &[
            |stage| stage.detach(1),
            |stage| {
                stage.map(4, 2, 6).expect("map");
                stage.note("unmap", stage.unmap(0, 2));
            },
        ],
        ..Case::DEFAULT
    },
    Case {
        name: "devices-move",
        about: "the last device goes and another comes, during an unmap of all",
        begin: attached,
        threads: &[
            |stage| stage.detach(1),
            |stage| drop(stage.attach(2).expect("attach")),
            |stage| stage.note("unmap", stage.unmap(0, 4)),
        ],
        end: |stage| assert_eq!(stage.noted("unmap"), Ok(4)),
        preemptions: Some(2),
        ..Case::DEFAULT
    },
    Case {
        name: "free",
        about: "the space is freed during a map and an unmap, which end before or find nothing",
        begin: mapped,
        threads: &[
            |stage| stage.free(),
            |stage| stage.note("map", stage.map(4, 1, 6)),
            |stage| stage.note("unmap", stage.unmap(0, 2)),
        ],
        end: |stage| {
            assert!(matches!(stage.noted("map"), Ok(_) | Err(ENOENT)));
            assert!(matches!(stage.noted("unmap"), Ok(2) | Err(ENOENT)));
        },
        preemptions: Some(2),
        ..Case::DEFAULT
    },
    Case {
        name: "copy-unmap",
        about: "what is unmapped is mapped once more, with a device",
        begin: attached,
        threads: &[
            |stage| stage.note("copy", stage.copy(0, 4, 8)),
            |stage| stage.note("unmap", stage.unmap(0, 2)),
        ],
        end: |stage| {
            assert_eq!(stage.noted("unmap"), Ok(2));
            assert!(matches!(stage.noted("copy"), Ok(_) | Err(ENOENT)));
        },
        preemptions: Some(4),
        ..Case::DEFAULT
    },
    Case {
        name: "copy-attach",
        about: "memory that two areas share is pinned for the first device, and unmapped in one",
        begin: |stage| {
            mapped(stage);
            stage.copy(0, 2, 8).expect("copy");
        },
        threads: &[
            |stage| drop(stage.attach(1).expect("attach")),
            |stage| stage.note("copy", stage.copy(0, 2, 10)),
            |stage| stage.note("unmap", stage.unmap(8, 2)),
        ],
        end: |stage| assert_eq!(stage.noted("unmap"), Ok(2)),
        preemptions: Some(2),
        ..Case::DEFAULT
    },
    Case {
        name: "takeover",
        about: "another process takes over what a file's pages cost, during a map and an unmap",
        begin: |stage| {
            kernel::machine::limit(100);
            stage.attach(1).expect("attach");
            stage.map_file(0, 2, 0).expect("map");
            stage.map_file(2, 2, 3).expect("map");
        },
        threads: &[
            |stage| stage.take_over(1).expect("takeover"),
            |stage| {
                stage.note("map", stage.map_file(4, 1, 6));
                stage.note("unmap", stage.unmap(0, 2));
            },
        ],
        end: |stage| {
            assert_eq!(stage.noted("unmap"), Ok(2));
            // What has been there all the time is paid for by the other now.
            assert!(matches!(kernel::machine::charged(1), 2 | 3));
        },
        ..Case::DEFAULT
    },
    Case {
        name: "takeover-detach",
        about: "the same, while the last device goes and another comes",
        begin: |stage| {
            kernel::machine::limit(100);
            stage.attach(1).expect("attach");
            stage.map_file(0, 2, 0).expect("map");
        },
        threads: &[
            |stage| stage.take_over(1).expect("takeover"),
            |stage| {
                stage.detach(1);
                stage.attach(2).expect("attach");
            },
        ],
        ..Case::DEFAULT
    },
    Case {
        name: "pin-unmap",
        about: "a driver pins what is unmapped: it is asked to unpin, or finds nothing",
        begin: |stage| {
            mapped(stage);
            stage.add_driver().expect("driver");
        },
        threads: &[
            |stage| {
                if let Err(e) = stage.pin(0, 2) {
                    assert!(e == ENOENT || e == EINVAL);
                }
            },
            |stage| stage.note("unmap", stage.unmap(0, 2)),
        ],
        end: |stage| assert_eq!(stage.noted("unmap"), Ok(2)),
        ..Case::DEFAULT
    },
    Case {
        name: "pin-attach",
        about: "a driver pins and unpins what the first device has pinned",
        begin: |stage| {
            stage.map(0, 2, 0).expect("map");
            stage.add_driver().expect("driver");
        },
        threads: &[
            |stage| {
                stage.pin(0, 2).expect("pin");
                stage.unpin(0, 2);
            },
            |stage| drop(stage.attach(1).expect("attach")),
        ],
        preemptions: Some(4),
        ..Case::DEFAULT
    },
    Case {
        name: "pin-detach",
        about: "a driver pins what the last device, which goes, has pinned",
        begin: |stage| {
            stage.attach(1).expect("attach");
            stage.map(0, 2, 0).expect("map");
            stage.add_driver().expect("driver");
        },
        threads: &[
            |stage| stage.pin(0, 2).expect("pin"),
            |stage| stage.detach(1),
        ],
        ..Case::DEFAULT
    },
    Case {
        name: "lock-unmap",
        about: "hardware reads what is unmapped, which is refused then",
        begin: |stage| {
            stage.attach(1).expect("attach");
            stage.map(0, 2, 0).expect("map");
        },
        threads: &[
            |stage| {
                let range = super::stage::pages(0, 2);
                let locked = stage.space.lock_pages(range);
                stage.note("lock", locked.map(|_| 0));
                if stage.noted("lock").is_ok() {
                    stage.space.unlock_pages(range);
                }
            },
            |stage| stage.note("unmap", stage.unmap(0, 2)),
        ],
        end: |stage| {
            assert!(matches!(stage.noted("lock"), Ok(_) | Err(ENOENT)));
            assert!(matches!(stage.noted("unmap"), Ok(2) | Err(EBUSY)));
        },
        preemptions: Some(4),
        ..Case::DEFAULT
    },
    Case {
        name: "marks-unmap",
        about: "marks of what devices have written to are read while that is unmapped",
        begin: attached,
        threads: &[
            |stage| stage.read_marks(0, 4).expect("marks"),
            |stage| stage.note("one", stage.unmap(0, 2)),
            |stage| stage.note("two", stage.unmap(2, 2)),
        ],
        preemptions: Some(2),
        ..Case::DEFAULT
    },
    Case {
        name: "choose",
        about: "two maps choose their addresses, and an unmap frees some",
        begin: |stage| {
            stage.attach(1).expect("attach");
            assert_eq!(stage.map_anywhere(2, 0), Ok(1));
        },
        threads: &[
            |stage| stage.note("one", stage.map_anywhere(1, 3)),
            |stage| stage.note("two", stage.map_anywhere(1, 6)),
            |stage| stage.note("unmap", stage.unmap(1, 2)),
        ],
        end: |stage| {
            assert_eq!(stage.noted("unmap"), Ok(2));
            assert_ne!(stage.noted("one"), stage.noted("two"));
        },
        preemptions: Some(2),
        ..Case::DEFAULT
    },
    Case {
        name: "cut-map",
        about: "an area is cut in two while it is unmapped, and something is mapped beside it",
        begin: |stage| {
            stage.map(0, 4, 0).expect("map");
        },
        threads: &[
            |stage| {
                stage.cut(2, 2).expect("cut");
                stage.note("half", stage.unmap(2, 2));
            },
            |stage| stage.note("map", stage.map(4, 1, 6)),
            |stage| stage.note("all", stage.unmap(0, 4)),
        ],
        preemptions: Some(2),
        ..Case::DEFAULT
    },
    Case {
        name: "domains",
        about: "a domain of userspace's own is made and removed, during a map and an unmap",
        begin: mapped,
        threads: &[
            |stage| {
                let hwpt = stage.add_domain().expect("domain");
                stage.remove_domain(&hwpt).expect("remove");
            },
            |stage| {
                stage.map(4, 2, 6).expect("map");
                stage.note("unmap", stage.unmap(0, 2));
            },
        ],
        ..Case::DEFAULT
    },
    Case {
        name: "killed",
        about: "an unmap of all ends early with a signal, during a map",
        begin: attached,
        threads: &[
            |stage| {
                kernel::machine::kill_after(stage.variant);
                stage.unmap_some(0, 4);
            },
            |stage| stage.note("map", stage.map(4, 2, 6)),
        ],
        variants: 3,
        ..Case::DEFAULT
    },
];
