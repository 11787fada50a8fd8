WITH values_1 AS (
  SELECT
    profiles.profile_id,
    aggregates.purchase_sum_amount_micros AS total_spent, /* events.purchase.sum(amount) */
    aggregates.purchase_sum_amount_30d_micros AS spend_30d, /* events.purchase.sum_30d(amount) */
    aggregates.purchase_sum_amount_90d_micros AS spend_90d, /* events.purchase.sum_90d(amount) */
    aggregates.purchase_avg_amount_90d_micros AS average_basket, /* events.purchase.avg_90d(amount) */
    aggregates.purchase_unique_days_14d AS shopping_days_14d, /* events.purchase.unique_days_14d */
    aggregates.purchase_count_90d_where AS books_90d, /* events.purchase[category == "books" && amount > 20].count_90d */
    COALESCE(profiles.s_plan, 'free') AS plan, /* coalesce(profile.plan, "free") */
    aggregates.purchase_last_at_ms AS last_order, /* events.purchase.last_at */
    COALESCE((
      1514779281000 - aggregates.any_last_at_ms
    ) // 86400000 < 30, FALSE)
    AND COALESCE((
      1514779281000 - aggregates.seen_last_at_ms
    ) // 3600000 < 720, FALSE) AS active /* events.*.days_since_last < 30 && last_seen_hours_ago < 720 */
  FROM profiles
  JOIN aggregates
    USING (profile_id)
), values_2 AS (
  SELECT
    profiles.profile_id,
    TRY_CAST(((2 * ABS(CAST(values_1.spend_90d AS INT128) * 1000000) + ABS(CAST(3000000 AS INT128))) // NULLIF(2 * ABS(CAST(3000000 AS INT128)), 0)) * SIGN(CAST(values_1.spend_90d AS INT128) * 1000000) * SIGN(CAST(3000000 AS INT128)) AS BIGINT) AS spend_trend__step_1, /* step */
    values_1.active
    AND COALESCE(values_1.total_spent >= 500000000, FALSE)
    AND values_1.plan IN ('pro', 'team') AS vip /* segment("active") && total_spent >= 500 && plan in ["pro", "team"] */
  FROM profiles
  JOIN values_1
    USING (profile_id)
), values_3 AS (
  SELECT
    profiles.profile_id,
    TRY_CAST(((2 * ABS(CAST(values_1.spend_30d AS INT128) * 1000000) + ABS(CAST(values_2.spend_trend__step_1 AS INT128))) // NULLIF(2 * ABS(CAST(values_2.spend_trend__step_1 AS INT128)), 0)) * SIGN(CAST(values_1.spend_30d AS INT128) * 1000000) * SIGN(CAST(values_2.spend_trend__step_1 AS INT128)) AS BIGINT) AS spend_trend /* spend_30d / (spend_90d / 3) */
  FROM profiles
  JOIN values_1
    USING (profile_id)
  JOIN values_2
    USING (profile_id)
), values_4 AS (
  SELECT
    profiles.profile_id,
    NOT (
      COALESCE(values_3.spend_trend > 500000, FALSE) OR values_2.vip
    )
    AND NOT COALESCE(values_1.spend_90d = 0, FALSE) AS slipping /* !(spend_trend > 0.5 || vip) && spend_90d != 0 */
  FROM profiles
  JOIN values_1
    USING (profile_id)
  JOIN values_2
    USING (profile_id)
  JOIN values_3
    USING (profile_id)
)
SELECT
  profiles.profile_id,
  CAST(CAST(values_1.total_spent AS DECIMAL(19, 0)) * CAST(0.000001 AS DECIMAL(7, 6)) AS DECIMAL(19, 6)) AS total_spent,
  CAST(CAST(values_1.spend_30d AS DECIMAL(19, 0)) * CAST(0.000001 AS DECIMAL(7, 6)) AS DECIMAL(19, 6)) AS spend_30d,
  CAST(CAST(values_1.spend_90d AS DECIMAL(19, 0)) * CAST(0.000001 AS DECIMAL(7, 6)) AS DECIMAL(19, 6)) AS spend_90d,
  CAST(CAST(values_1.average_basket AS DECIMAL(19, 0)) * CAST(0.000001 AS DECIMAL(7, 6)) AS DECIMAL(19, 6)) AS average_basket,
  values_1.shopping_days_14d AS shopping_days_14d,
  values_1.books_90d AS books_90d,
  CAST(CAST(values_3.spend_trend AS DECIMAL(19, 0)) * CAST(0.000001 AS DECIMAL(7, 6)) AS DECIMAL(19, 6)) AS spend_trend,
  values_1.plan AS plan,
  MAKE_TIMESTAMP_MS(values_1.last_order) AS last_order,
  values_1.active AS active,
  values_2.vip AS vip,
  values_4.slipping AS slipping
FROM profiles
JOIN values_1
  USING (profile_id)
JOIN values_2
  USING (profile_id)
JOIN values_3
  USING (profile_id)
JOIN values_4
  USING (profile_id)
