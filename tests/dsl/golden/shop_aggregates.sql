WITH purchase_events AS (
  SELECT
    identities.profile_id,
    SUM(events.n_amount) AS purchase_sum_amount_micros,
    SUM(events.n_amount) FILTER(WHERE
      events.ts_ms >= 1512187200000) AS purchase_sum_amount_30d_micros,
    SUM(events.n_amount) FILTER(WHERE
      events.ts_ms >= 1507003200000) AS purchase_sum_amount_90d_micros,
    {'total': SUM(events.n_amount) FILTER(WHERE
      events.ts_ms >= 1507003200000), 'count': COUNT(events.n_amount) FILTER(WHERE
      events.ts_ms >= 1507003200000)} AS purchase_avg_amount_90d_micros,
    COUNT(DISTINCT events.local_day) FILTER(WHERE
      events.local_day BETWEEN 17518 AND 17531) AS purchase_unique_days_14d,
    COUNT(*) FILTER(WHERE
      events.ts_ms >= 1507003200000
      AND (
        COALESCE(events.s_category = 'books', FALSE)
        AND COALESCE(events.n_amount > 20000000, FALSE)
      )) AS purchase_count_90d_where,
    MAX(events.ts_ms) AS purchase_last_at_ms
  FROM events
  JOIN identities
    USING (source_id)
  WHERE
    events.name = 'purchase'
    AND events.kind IN ('track', 'page', 'screen', 'system')
    AND events.seq <= 1478000
    AND events.ts_ms < 1514779281000
    AND identities.valid_from_seq <= 1478000
    AND (
      identities.valid_to_seq IS NULL OR identities.valid_to_seq > 1478000
    )
  GROUP BY
    identities.profile_id
), any_events AS (
  SELECT
    identities.profile_id,
    MAX(events.ts_ms) AS any_last_at_ms
  FROM events
  JOIN identities
    USING (source_id)
  WHERE
    events.kind IN ('track', 'page', 'screen')
    AND events.seq <= 1478000
    AND events.ts_ms < 1514779281000
    AND identities.valid_from_seq <= 1478000
    AND (
      identities.valid_to_seq IS NULL OR identities.valid_to_seq > 1478000
    )
  GROUP BY
    identities.profile_id
)
SELECT
  profiles.profile_id,
  TRY_CAST(COALESCE(purchase_events.purchase_sum_amount_micros, 0) AS BIGINT) AS purchase_sum_amount_micros, /* events.purchase.sum(amount) */
  TRY_CAST(COALESCE(purchase_events.purchase_sum_amount_30d_micros, 0) AS BIGINT) AS purchase_sum_amount_30d_micros, /* events.purchase.sum_30d(amount) */
  TRY_CAST(COALESCE(purchase_events.purchase_sum_amount_90d_micros, 0) AS BIGINT) AS purchase_sum_amount_90d_micros, /* events.purchase.sum_90d(amount) */
  TRY_CAST((
    2 * ABS(STRUCT_EXTRACT(purchase_events.purchase_avg_amount_90d_micros, 'total')) + STRUCT_EXTRACT(purchase_events.purchase_avg_amount_90d_micros, 'count')
  ) // NULLIF(2 * STRUCT_EXTRACT(purchase_events.purchase_avg_amount_90d_micros, 'count'), 0) * SIGN(STRUCT_EXTRACT(purchase_events.purchase_avg_amount_90d_micros, 'total')) AS BIGINT) AS purchase_avg_amount_90d_micros, /* events.purchase.avg_90d(amount) */
  COALESCE(purchase_events.purchase_unique_days_14d, 0) AS purchase_unique_days_14d, /* events.purchase.unique_days_14d */
  COALESCE(purchase_events.purchase_count_90d_where, 0) AS purchase_count_90d_where, /* events.purchase[category == "books" && amount > 20].count_90d */
  purchase_events.purchase_last_at_ms AS purchase_last_at_ms, /* events.purchase.last_at */
  any_events.any_last_at_ms AS any_last_at_ms, /* events.*.last_at */
  profiles.last_seen_ms AS seen_last_at_ms /* last_seen_at */
FROM profiles
LEFT JOIN purchase_events
  USING (profile_id)
LEFT JOIN any_events
  USING (profile_id)
