//! A made-up sensor. Its values are the same on every machine: they come from whole numbers by `+ - * /`.

/// What a channel measures.
pub(crate) struct Channel {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    /// What is difficult about it.
    pub(crate) about: &'static str,
}

const fn channel(name: &'static str, unit: &'static str, about: &'static str) -> Channel {
    Channel { name, unit, about }
}

pub(crate) const CHANNELS: [Channel; 6] = [
    channel("temperature", "°C", "drifts"),
    channel("pressure", "Pa", "at an offset of 1e6"),
    channel("vibration", "g", "with outliers"),
    channel("flow", "l/min", "with a step"),
    channel("current", "A", "with a dropout"),
    channel("frequency", "Hz", "at an offset of 1e9"),
];

/// The rows, one after the other.
pub(crate) struct Sensor {
    at: u64,
    rows: u64,
    random: u64,
}

impl Sensor {
    pub(crate) fn new(rows: u64) -> Self {
        Sensor { at: 0, rows, random: 1 }
    }

    /// Returns a number between 0 and 1.
    fn uniform(&mut self) -> f64 {
        // Knuth's MMIX generator; its upper bits are good enough for noise.
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 32) as f64 / (1u64 << 32) as f64
    }

    /// Returns a bell-shaped number with mean 0 and standard deviation 1, between -3 and 3.
    fn noise(&mut self) -> f64 {
        2.0 * (self.uniform() + self.uniform() + self.uniform()) - 3.0
    }
}

impl Iterator for Sensor {
    type Item = [f64; CHANNELS.len()];

    fn next(&mut self) -> Option<Self::Item> {
        if self.at == self.rows {
            return None;
        }
        let (at, time) = (self.at, self.at as f64 / self.rows as f64);
        self.at += 1;
        let is_outlier = at % 900 == 800;
        let side = if at % 1800 == 800 { 1.0 } else { -1.0 };
        Some([
            20.0 + 6.0 * time + 0.4 * self.noise(),
            1e6 + 2.0 * self.noise(),
            if is_outlier { side } else { 0.02 * self.noise() },
            if time < 0.6 { 40.0 } else { 55.0 } + self.noise(),
            if (0.42..0.45).contains(&time) { 0.0 } else { 12.0 + 0.25 * self.noise() },
            1e9 + 0.05 * self.noise(),
        ])
    }
}
