//! Distances on the sphere.

/// Mean radius of the Earth (IUGG R1), in metres.
pub const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// Great-circle distance in metres by the haversine formula, of degrees.
pub fn distance_m(from: (f64, f64), to: (f64, f64)) -> f64 {
    let (lat1, lat2) = (from.0.to_radians(), to.0.to_radians());
    let half_lat = ((lat2 - lat1) / 2.0).sin();
    let half_lon = ((to.1 - from.1).to_radians() / 2.0).sin();
    let h = half_lat * half_lat + lat1.cos() * lat2.cos() * half_lon * half_lon;
    // Rounding may lift antipodes above 1.
    2.0 * EARTH_RADIUS_M * h.min(1.0).sqrt().asin()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_distances_and_both_ways_round_the_date_line() {
        let degree = EARTH_RADIUS_M.mul_add(std::f64::consts::PI / 180.0, 0.0);
        assert!((distance_m((0.0, 0.0), (0.0, 1.0)) - degree).abs() < 1e-6);
        assert!((distance_m((0.0, 179.5), (0.0, -179.5)) - degree).abs() < 1e-6);
        assert!((distance_m((90.0, 0.0), (-90.0, 77.0)) - 180.0 * degree).abs() < 1e-3);
        assert_eq!(distance_m((52.5, 13.4), (52.5, 13.4)), 0.0);
        // Berlin to Paris: 877.46 km on this sphere.
        let berlin_paris = distance_m((52.52, 13.405), (48.8566, 2.3522));
        assert!((berlin_paris - 877_464.0).abs() < 500.0, "{berlin_paris}");
    }
}
