//! The data: digits in a font of 5x7 pixels, somewhere in 8x8 pixels, with noise. The same on every machine.

pub(crate) const CLASSES: usize = 10;
pub(crate) const PIXELS: usize = SIDE * SIDE;

const SIDE: usize = 8;
const FONT_WIDTH: usize = 5;
const FONT_HEIGHT: usize = 7;

/// Each row of a digit is five bits, the leftmost pixel first.
#[rustfmt::skip]
const FONT: [[u8; FONT_HEIGHT]; CLASSES] = [
    [0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110],
    [0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110],
    [0b01110, 0b10001, 0b00001, 0b00010, 0b00100, 0b01000, 0b11111],
    [0b11111, 0b00010, 0b00100, 0b00010, 0b00001, 0b10001, 0b01110],
    [0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010],
    [0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110],
    [0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110],
    [0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b01000, 0b01000],
    [0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110],
    [0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100],
];

/// Images of digits, and which digit each one is.
pub(crate) struct Digits {
    pixels: Vec<f32>,
    labels: Vec<u8>,
}

impl Digits {
    pub(crate) fn new(len: usize, random: &mut Random) -> Self {
        let labels: Vec<u8> = (0..len).map(|at| (at % CLASSES) as u8).collect();
        let pixels = labels.iter().flat_map(|label| image(*label, random)).collect();
        Digits { pixels, labels }
    }

    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    /// Returns the pixels of all images, one image after the other.
    pub(crate) fn pixels(&self) -> &[f32] {
        &self.pixels
    }

    /// Replaces `pixels` and `labels` by those of the given images.
    pub(crate) fn copy(&self, images: &[usize], pixels: &mut Vec<f32>, labels: &mut Vec<u8>) {
        pixels.clear();
        labels.clear();
        for image in images {
            pixels.extend_from_slice(&self.pixels[image * PIXELS..][..PIXELS]);
            labels.push(self.labels[*image]);
        }
    }

    /// Returns the share of digits that were read right.
    pub(crate) fn accuracy(&self, read: &[u8]) -> f64 {
        let right = self.labels.iter().zip(read).filter(|(label, read)| label == read).count();
        right as f64 / self.len() as f64
    }

    /// Returns an image as text.
    pub(crate) fn picture(&self, image: usize) -> String {
        let pixels = &self.pixels[image * PIXELS..][..PIXELS];
        let (low, high) = pixels.iter().fold((f32::MAX, f32::MIN), |(low, high), p| (low.min(*p), high.max(*p)));
        let shade = |pixel: &f32| ["  ", "░░", "▒▒", "▓▓", "██"][(4.99 * (pixel - low) / (high - low)) as usize];
        pixels.chunks_exact(SIDE).map(|row| row.iter().map(shade).collect::<String>() + "\n").collect()
    }
}

/// Draws a digit at a random place, with random brightness and contrast, and noise.
fn image(digit: u8, random: &mut Random) -> [f32; PIXELS] {
    let (left, top) = (random.below(SIDE - FONT_WIDTH + 1), random.below(SIDE - FONT_HEIGHT + 1));
    let (brightness, contrast) = (1.0 + random.uniform(), 0.7 + 0.6 * random.uniform());
    let mut pixels = [0.0; PIXELS];
    for (y, row) in FONT[usize::from(digit)].iter().enumerate() {
        for x in 0..FONT_WIDTH {
            pixels[(top + y) * SIDE + left + x] = f32::from(row >> (FONT_WIDTH - 1 - x) & 1);
        }
    }
    pixels.map(|ink| brightness + contrast * ink + 0.25 * random.noise())
}

/// Random numbers: SplitMix64 (Steele, Lea and Flood 2014).
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number of at least 0 and below 1.
    fn uniform(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u32 << 24) as f32
    }

    /// Returns a whole number below `end`.
    fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }

    /// Returns a bell-shaped number with mean 0 and standard deviation 1, between -3 and 3.
    pub(crate) fn noise(&mut self) -> f32 {
        2.0 * (self.uniform() + self.uniform() + self.uniform()) - 3.0
    }

    /// Puts values into a random order (Fisher and Yates).
    pub(crate) fn shuffle(&mut self, values: &mut [usize]) {
        for end in (1..values.len()).rev() {
            values.swap(end, self.below(end + 1));
        }
    }
}
