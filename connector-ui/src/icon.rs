//! The icons, drawn from formulas: each state has a shape of its own, so that nobody needs to see
//! colours to tell them apart.

/// An icon of the tray.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Icon {
    /// What it looks like.
    pub shape: Shape,
    /// What it is painted with.
    pub colour: Colour,
}

/// What an icon looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// A disc with a bar: no entry.
    Barred,
    /// Two upright bars.
    Bars,
    /// A cross.
    Cross,
    /// A square on its corner.
    Diamond,
    /// A ring around a dot.
    Dotted,
    /// A disc of which one half is filled.
    Half,
    /// Three quarters of a ring.
    Open,
    /// A ring.
    Ring,
    /// A disc with a tick.
    Ticked,
    /// A disc with an exclamation mark.
    Warning,
}

/// What an icon is painted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Colour {
    /// Something wants attention.
    Amber,
    /// Something is under way.
    Blue,
    /// All is well.
    Green,
    /// Nothing is wrong, and nothing is on.
    Grey,
    /// Nothing works.
    Red,
}

impl Colour {
    /// Returns red, green and blue; each can be seen on dark and on light panels.
    #[must_use]
    pub const fn rgb(self) -> [u8; 3] {
        match self {
            Self::Amber => [0xe0, 0x8e, 0x0b],
            Self::Blue => [0x3b, 0x82, 0xd6],
            Self::Green => [0x2f, 0x9e, 0x51],
            Self::Grey => [0x8a, 0x8f, 0x98],
            Self::Red => [0xd6, 0x3b, 0x3b],
        }
    }
}

impl Icon {
    /// Paints the icon: `size` rows of `size` pixels, each red, green, blue and opacity.
    #[must_use]
    pub fn rgba(self, size: u8) -> Vec<u8> {
        let [red, green, blue] = self.colour.rgb();
        let mut pixels = Vec::with_capacity(usize::from(size) * usize::from(size) * 4);
        for row in 0..size {
            for column in 0..size {
                let opacity = self.opacity(row, column, size);
                pixels.extend_from_slice(&[red, green, blue, opacity]);
            }
        }
        pixels
    }

    /// Returns how much of a pixel the shape covers, seen at sixteen points of it.
    fn opacity(self, row: u8, column: u8, size: u8) -> u8 {
        let at = |cell: u8, part: u8| {
            let place = f32::from(cell) + (f32::from(part) + 0.5) / f32::from(POINTS);
            place / f32::from(size) * 2.0 - 1.0
        };
        let points = (0..POINTS).flat_map(|y| (0..POINTS).map(move |x| (x, y)));
        let covered = points
            .filter(|(x, y)| self.shape.covers(at(column, *x), at(row, *y)))
            .count();
        let all = usize::from(POINTS) * usize::from(POINTS);
        u8::try_from(covered * 255 / all).unwrap_or(u8::MAX)
    }
}

impl Shape {
    /// Returns whether a point belongs to the shape; the icon reaches from -1 to 1, downwards.
    fn covers(self, x: f32, y: f32) -> bool {
        let away = x.hypot(y);
        let disc = away < 0.9;
        let ring = disc && away > 0.66;
        match self {
            Self::Barred => disc && !(x.abs() < 0.55 && y.abs() < 0.18),
            Self::Bars => y.abs() < 0.75 && (0.2..0.65).contains(&x.abs()),
            Self::Cross => {
                let (rising, falling) = ((x + y).abs(), (x - y).abs());
                disc && rising.min(falling) < 0.3
            }
            Self::Diamond => x.abs() + y.abs() < 0.95,
            Self::Dotted => ring || away < 0.32,
            Self::Half => ring || (disc && x < 0.0),
            Self::Open => ring && !(x > 0.0 && y < 0.0),
            Self::Ring => ring,
            Self::Ticked => {
                let down = (-0.5..-0.1).contains(&x) && (y - x - 0.35).abs() < 0.22;
                let up = (-0.15..0.55).contains(&x) && (y + x - 0.1).abs() < 0.22;
                disc && !down && !up
            }
            Self::Warning => {
                let stroke = x.abs() < 0.15 && (-0.6..0.15).contains(&y);
                let dot = x.hypot(y - 0.45) < 0.17;
                disc && !stroke && !dot
            }
        }
    }
}

/// Points in a row of a pixel that are looked at.
const POINTS: u8 = 4;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_shape_can_be_told_from_every_other_without_colour() {
        let mut seen: Vec<(Shape, Vec<u8>)> = Vec::new();
        for shape in ALL {
            let icon = Icon {
                shape,
                colour: Colour::Grey,
            };
            let mask: Vec<u8> = icon.rgba(22).chunks(4).map(|pixel| pixel[3]).collect();
            for (other, theirs) in &seen {
                let differing = mask
                    .iter()
                    .zip(theirs)
                    .filter(|(a, b)| a.abs_diff(**b) > 127);
                let differing = differing.count();
                assert!(
                    differing >= 15,
                    "{shape:?} and {other:?}: {differing} pixels"
                );
            }
            seen.push((shape, mask));
        }
    }

    #[test]
    fn an_icon_is_as_large_as_it_was_asked_for_and_no_panel_sees_a_blank_one() {
        for (shape, size) in ALL
            .into_iter()
            .zip([16, 22, 24, 32, 48, 64, 16, 22, 24, 32])
        {
            let pixels = Icon {
                shape,
                colour: Colour::Red,
            }
            .rgba(size);
            assert_eq!(pixels.len(), usize::from(size) * usize::from(size) * 4);
            assert!(pixels.chunks(4).any(|pixel| pixel[3] == 255), "{shape:?}");
            assert!(pixels.chunks(4).any(|pixel| pixel[3] == 0), "{shape:?}");
        }
    }

    #[test]
    fn colours_differ() {
        let all = [
            Colour::Amber,
            Colour::Blue,
            Colour::Green,
            Colour::Grey,
            Colour::Red,
        ];
        assert_eq!(
            all.map(Colour::rgb)
                .into_iter()
                .collect::<BTreeSet<_>>()
                .len(),
            all.len()
        );
    }

    const ALL: [Shape; 10] = [
        Shape::Barred,
        Shape::Bars,
        Shape::Ticked,
        Shape::Cross,
        Shape::Diamond,
        Shape::Dotted,
        Shape::Half,
        Shape::Open,
        Shape::Ring,
        Shape::Warning,
    ];
}
