//! Distances as pgvector's, and bounds that never exceed the key.
#![forbid(unsafe_code)]

use super::*;
use proptest::prelude::*;

#[test]
fn names_and_operators() {
    let told: Vec<_> = Metric::ALL
        .iter()
        .map(|metric| (metric.name(), metric.operator()))
        .collect();
    let expected = [
        ("cosine", "<=>"),
        ("dotproduct", "<#>"),
        ("euclidean", "<->"),
    ];
    assert_eq!(told, expected);
    for metric in Metric::ALL {
        assert_eq!(Metric::parse(metric.name()), Ok(metric));
    }
    for wrong in ["", "Cosine", "l2", "cosine "] {
        let error = Metric::parse(wrong).unwrap_err();
        assert_eq!(error.to_string(), format!("invalid metric: \"{wrong}\""));
        assert!(error.hint().unwrap().contains("\"dotproduct\""));
    }
}

#[test]
fn distances_are_pgvectors() {
    let of = |distance: Distance, a: &[f32], b: &[f32]| distance.of(a, b);
    assert_eq!(of(Distance::L2, &[0., 0.], &[3., 4.]), 5.0);
    assert_eq!(of(Distance::L2, &[0., 0.], &[0., 1e20]), f64::INFINITY);
    assert_eq!(of(Distance::InnerProduct, &[1., 2.], &[3., 4.]), -11.0);
    let zero = of(Distance::InnerProduct, &[1., 0.], &[0., 1.]);
    assert!(zero == 0.0 && zero.is_sign_negative(), "pgvector shows -0");
    assert_eq!(of(Distance::L1, &[0., 0.], &[3., -4.]), 7.0);
    assert_eq!(of(Distance::Cosine, &[1., 2.], &[2., 4.]), 0.0);
    assert_eq!(of(Distance::Cosine, &[1., 1.], &[-1., -1.]), 2.0);
    assert_eq!(of(Distance::Cosine, &[1., 0.], &[0., 2.]), 1.0);
    assert!(of(Distance::Cosine, &[1., 0.], &[0., 0.]).is_nan());
}

#[test]
fn scores() {
    let key = |metric, v: &[f32]| Scorer::new(metric, [3.0, 4.0]).exact(v);
    let score = |metric, v: &[f32]| {
        let scorer = Scorer::new(metric, [3.0, 4.0]);
        scorer.score(scorer.exact(v))
    };
    assert_eq!(score(Metric::Cosine, &[6., 8.]), 1.0);
    assert_eq!(score(Metric::Cosine, &[-3., -4.]), -1.0);
    assert_eq!(score(Metric::DotProduct, &[1., 2.]), 11.0);
    assert_eq!(score(Metric::DotProduct, &[4., -3.]).to_bits(), 0);
    assert_eq!(score(Metric::Euclidean, &[0., 0.]), 25.0);
    assert_eq!(key(Metric::Euclidean, &[0., 0.]), 25.0);
    assert_eq!(key(Metric::DotProduct, &[1., 2.]), -11.0);

    let nothing = key(Metric::Cosine, &[0., 0.]);
    assert_eq!(nothing.total_cmp(&f64::MAX), std::cmp::Ordering::Greater);
    assert_eq!(nothing.total_cmp(&1.0), std::cmp::Ordering::Greater);
}

/// A bar that nothing misses would be sound too: it must decide for ordinary vectors.
#[test]
fn ordinary_vectors_miss_the_bar_by_little() {
    let wave = |from: f32| -> Vec<f32> {
        (0..384)
            .map(|i| (i as f32 * 0.37 + from).sin() / 14.0)
            .collect()
    };
    for metric in Metric::ALL {
        let scorer = Scorer::new(metric, wave(0.0));
        for from in [0.0, 0.5, 1.0, 2.0, 3.0] {
            // Once: a sine need not be the same each time that it is asked for.
            let vector = wave(from);
            let key = scorer.exact(&vector);
            let by_little = scorer.bar((key - 5e-5) as f32);
            assert!(scorer.misses(&by_little, &vector), "{metric:?} {from}");
            assert!(
                (scorer.least(&vector) - key).abs() < 5e-5,
                "{metric:?} {from}"
            );
            let equal = scorer.bar(key as f32);
            assert!(!scorer.misses(&equal, &vector), "{metric:?} {from}");
        }
    }
}

/// Any finite float, with more denormal, huge and ordinary ones than bits at random would give.
fn element() -> impl Strategy<Value = f32> {
    let any = any::<u32>().prop_map(f32::from_bits);
    prop_oneof![
        3 => -1.0f32..1.0,
        1 => any.prop_filter("finite", |f| f.is_finite()),
        1 => (0u32..1 << 23).prop_map(f32::from_bits),
        1 => (-1.0f32..1.0).prop_map(|f| f * 3e38),
        1 => (-1.0f32..1.0).prop_map(|f| f * 1e-19),
        1 => Just(0.0),
    ]
}

/// Two vectors of one length; now and then all of one magnitude, or nearly parallel.
fn pair() -> impl Strategy<Value = (Vec<f32>, Vec<f32>)> {
    let mixed = (1usize..80).prop_flat_map(|n| {
        use prop::collection::vec;
        (vec(element(), n), vec(element(), n))
    });
    let scaled = (1usize..700, -44i32..38, -44i32..38).prop_flat_map(|(n, p, q)| {
        use prop::collection::vec;
        (vec(-1.0f32..1.0, n), vec(-1.0f32..1.0, n)).prop_map(move |(mut a, mut b)| {
            a.iter_mut().for_each(|f| *f *= 10f32.powi(p));
            b.iter_mut().for_each(|f| *f *= 10f32.powi(q));
            (a, b)
        })
    });
    let parallel = (scaled.clone(), -2.0f32..2.0).prop_map(|((a, _), factor)| {
        let b = a.iter().map(|f| f * factor).collect();
        (a, b)
    });
    prop_oneof![mixed, scaled, parallel]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_misses_the_bar_ranks_later((query, vector) in pair()) {
        for metric in Metric::ALL {
            for simd in ["avx512", "avx2", "neon", "scalar"] {
                let table = crate::kernel::choose(Some(simd));
                let scorer = Scorer::with(table, metric, query.clone().into());
                let key = scorer.exact(&vector);
                let least = scorer.least(&vector);
                prop_assert!(least <= key || key.is_nan(), "{metric:?} {simd}: {least:e} above {key:e}");
                for worst in [key as f32, (key * 0.9) as f32, (key * 1.1) as f32, -0.5, 0.5] {
                    let misses = scorer.misses(&scorer.bar(worst), &vector);
                    let later = (key as f32 + 0.0).total_cmp(&(worst + 0.0)).is_gt();
                    prop_assert!(later || !misses, "{metric:?} {simd}: key {key:e} misses {worst:e}");
                }
            }
        }
    }
}
