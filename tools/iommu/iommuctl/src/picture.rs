// SPDX-License-Identifier: GPL-2.0

//! An address space as a picture: its pieces on top of each other, the lowest addresses at the
//! bottom. The height of a piece grows whenever its size doubles, so that pages and terabytes
//! both show.

use crate::{
    map::{
        Picture,
        Piece,
        State, //
    },
    size,
};
use svg::{
    node::element::{
        Rectangle,
        Style,
        Text,
        Title, //
    },
    Document,
    Node, //
};

/// In a browser's pixels.
const WIDTH: u32 = 760;
const BAR_AT: u32 = 180;
const BAR_WIDTH: u32 = 200;
const TOP: u32 = 40;
const LINE: u32 = 18;

/// Colours that differ in brightness, too, and that go with a light and a dark page.
const STYLE: &str = "text { font: 13px monospace; fill: #777 }
rect { stroke: #777 }
.mapped { fill: #4878a8 }
.readonly { fill: #90b8d8 }
.waiting { fill-opacity: 0.4; stroke-dasharray: 4 }
.free { fill: none }
.reserved { fill: #d08030 }";

fn height(piece: &Piece) -> u32 {
    // A page and less make one line.
    let doublings = (128 - piece.bytes().leading_zeros()).saturating_sub(13);
    LINE + doublings * 2
}

/// What is mapped in a space without a device looks like less: it is not pinned.
fn kind(piece: &Piece, no_device: bool) -> &'static str {
    let can_be_written = piece.detail.as_deref() == Some("rw");
    match (&piece.state, can_be_written, no_device) {
        (State::Mapped, true, false) => "mapped",
        (State::Mapped, true, true) => "mapped waiting",
        (State::Mapped, false, false) => "readonly",
        (State::Mapped, false, true) => "readonly waiting",
        (State::Free, ..) => "free",
        (State::Reserved, ..) => "reserved",
    }
}

fn label(piece: &Piece) -> String {
    let size = size::human(piece.bytes());
    let detail = piece.detail.as_deref().unwrap_or_default();
    match (&piece.state, piece.area_count) {
        (State::Mapped, 1) => format!("{size} mapped {detail}"),
        (State::Mapped, count) => format!("{size} mapped {detail}, {count} areas"),
        (State::Free, _) => format!("{size} free"),
        (State::Reserved, _) => format!("{size} reserved {detail}"),
    }
}

fn text(text: &str, x: u32, y: u32, anchor: &str) -> Text {
    Text::new(text)
        .set("x", x)
        .set("y", y)
        .set("text-anchor", anchor)
}

/// The picture, as a file that browsers show.
pub(crate) fn draw(picture: &Picture) -> String {
    let total: u32 = picture.pieces.iter().map(height).sum();
    let mut document = Document::new()
        .set("viewBox", (0, 0, WIDTH, TOP + total + LINE))
        .add(Style::new(STYLE))
        .add(text(&picture.title(), 10, LINE, "start"));
    let mut bottom = TOP + total;
    for piece in &picture.pieces {
        let y = bottom - height(piece);
        let mut bar = Rectangle::new()
            .set("class", kind(piece, picture.no_device))
            .set("x", BAR_AT)
            .set("y", y)
            .set("width", BAR_WIDTH)
            .set("height", height(piece));
        bar.append(Title::new(format!(
            "{:#x} to {:#x}",
            piece.first, piece.last
        )));
        let middle = y + height(piece) / 2 + 4;
        document = document
            .add(bar)
            .add(text(
                &format!("{:#x}", piece.first),
                BAR_AT - 8,
                bottom - 4,
                "end",
            ))
            .add(text(&label(piece), BAR_AT + BAR_WIDTH + 8, middle, "start"));
        bottom = y;
    }
    document.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(first: u64, last: u64, state: State) -> Piece {
        Piece {
            first,
            last,
            state,
            detail: None,
            area_count: 1,
        }
    }

    /// The numbers of an attribute, in order.
    fn numbers(picture: &str, attribute: &str) -> Vec<u32> {
        let bars = picture.lines().filter(|line| line.starts_with("<rect"));
        bars.map(|line| {
            let (_, rest) = line.split_once(&format!(" {attribute}=\"")).unwrap();
            rest.split('"').next().unwrap().parse().unwrap()
        })
        .collect()
    }

    fn picture(note: Option<&str>) -> Picture {
        Picture {
            context: "7".to_owned(),
            ioasid: 1,
            first: 0,
            last: u64::MAX,
            no_device: note.is_some(),
            note: note.map(str::to_owned),
            pieces: vec![
                piece(0, 4095, State::Mapped),
                piece(4096, 12287, State::Free),
                piece(12288, u64::MAX, State::Reserved),
            ],
        }
    }

    #[test]
    fn what_waits_for_a_device_looks_so() {
        let drawn = draw(&picture(Some("4 KiB not pinned: no device")));
        assert!(drawn.contains("Context 7, IOASID 1 (4 KiB not pinned: no device)"));
        let waiting = |drawn: &str| drawn.matches("readonly waiting\"").count();
        assert_eq!(waiting(&drawn), 1);
        assert_eq!(waiting(&draw(&picture(None))), 0);
    }

    #[test]
    fn pieces_stand_on_each_other() {
        let drawn = draw(&picture(None));
        let (tops, heights) = (numbers(&drawn, "y"), numbers(&drawn, "height"));
        assert_eq!(tops[0], tops[1] + heights[1]);
        assert_eq!(tops[1], tops[2] + heights[2]);
        assert_eq!(tops[2], TOP);
        assert_eq!(heights[0] + 2, heights[1]);
        assert!(heights[1] < heights[2]);
    }
}
