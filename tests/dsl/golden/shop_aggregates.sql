WITH purchase_events AS (
  SELECT
    events.source_id,
    SUM(events.n_amount) AS purchase_sum_amount_micros,
    MAX(events.ts_ms) AS purchase_last_at_ms
  FROM events
  WHERE
    events.name = 'purchase'
    AND events.kind IN ('track', 'page', 'screen', 'system')
    AND events.seq <= 1478000
    AND events.ts_ms < 1514779281000
  GROUP BY
    events.source_id
), purchase_events_90d AS (
  SELECT
    events.source_id,
    SUM(events.n_amount) AS purchase_sum_amount_90d_micros,
    {'total': SUM(events.n_amount), 'count': COUNT(events.n_amount)} AS purchase_avg_amount_90d_micros,
    COUNT(*) FILTER (WHERE events.s_category = 'books' AND events.n_amount > 20000000) AS purchase_count_90d_where,
    SUM(events.n_amount) FILTER (WHERE events.ts_ms >= 1512187200000) AS purchase_sum_amount_30d_micros,
    BITSTRING_AGG(events.local_day, 17518, 17531) FILTER (WHERE events.local_day BETWEEN 17518 AND 17531) AS purchase_unique_days_14d
  FROM events
  WHERE
    events.name = 'purchase'
    AND events.kind IN ('track', 'page', 'screen', 'system')
    AND events.seq <= 1478000
    AND events.ts_ms < 1514779281000
    AND events.ts_ms >= 1507003200000
  GROUP BY
    events.source_id
), any_events AS (
  SELECT
    events.source_id,
    MAX(events.ts_ms) AS any_last_at_ms
  FROM events
  WHERE
    events.kind IN ('track', 'page', 'screen')
    AND events.seq <= 1478000
    AND events.ts_ms < 1514779281000
  GROUP BY
    events.source_id
), by_profile AS (
  SELECT
    identities.profile_id,
    SUM(purchase_events.purchase_sum_amount_micros) AS purchase_sum_amount_micros,
    MAX(purchase_events.purchase_last_at_ms) AS purchase_last_at_ms,
    SUM(purchase_events_90d.purchase_sum_amount_90d_micros) AS purchase_sum_amount_90d_micros,
    {'total': SUM(STRUCT_EXTRACT(purchase_events_90d.purchase_avg_amount_90d_micros, 'total')), 'count': CAST(SUM(STRUCT_EXTRACT(purchase_events_90d.purchase_avg_amount_90d_micros, 'count')) AS BIGINT)} AS purchase_avg_amount_90d_micros,
    CAST(SUM(purchase_events_90d.purchase_count_90d_where) AS BIGINT) AS purchase_count_90d_where,
    SUM(purchase_events_90d.purchase_sum_amount_30d_micros) AS purchase_sum_amount_30d_micros,
    CAST(BIT_COUNT(BIT_OR(purchase_events_90d.purchase_unique_days_14d)) AS BIGINT) AS purchase_unique_days_14d,
    MAX(any_events.any_last_at_ms) AS any_last_at_ms
  FROM identities
  LEFT JOIN purchase_events
    USING (source_id)
  LEFT JOIN purchase_events_90d
    USING (source_id)
  LEFT JOIN any_events
    USING (source_id)
  WHERE
    identities.valid_from_seq <= 1478000 AND (identities.valid_to_seq IS NULL OR identities.valid_to_seq > 1478000)
  GROUP BY
    identities.profile_id
)
SELECT
  profiles.profile_id,
  TRY_CAST(COALESCE(by_profile.purchase_sum_amount_micros, 0) AS BIGINT) AS purchase_sum_amount_micros, /* events.purchase.sum(amount) */
  TRY_CAST(COALESCE(by_profile.purchase_sum_amount_30d_micros, 0) AS BIGINT) AS purchase_sum_amount_30d_micros, /* events.purchase.sum_30d(amount) */
  TRY_CAST(COALESCE(by_profile.purchase_sum_amount_90d_micros, 0) AS BIGINT) AS purchase_sum_amount_90d_micros, /* events.purchase.sum_90d(amount) */
  TRY_CAST((2 * ABS(STRUCT_EXTRACT(by_profile.purchase_avg_amount_90d_micros, 'total')) + STRUCT_EXTRACT(by_profile.purchase_avg_amount_90d_micros, 'count')) // NULLIF(2 * STRUCT_EXTRACT(by_profile.purchase_avg_amount_90d_micros, 'count'), 0) * SIGN(STRUCT_EXTRACT(by_profile.purchase_avg_amount_90d_micros, 'total')) AS BIGINT) AS purchase_avg_amount_90d_micros, /* events.purchase.avg_90d(amount) */
  COALESCE(by_profile.purchase_unique_days_14d, 0) AS purchase_unique_days_14d, /* events.purchase.unique_days_14d */
  COALESCE(by_profile.purchase_count_90d_where, 0) AS purchase_count_90d_where, /* events.purchase[category == "books" && amount > 20].count_90d */
  by_profile.purchase_last_at_ms AS purchase_last_at_ms, /* events.purchase.last_at */
  by_profile.any_last_at_ms AS any_last_at_ms, /* events.*.last_at */
  profiles.last_seen_ms AS seen_last_at_ms /* last_seen_at */
FROM profiles
LEFT JOIN by_profile
  USING (profile_id)
