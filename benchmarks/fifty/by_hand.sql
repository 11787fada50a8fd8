-- The fifty values of traits.yaml as somebody writes them who knows DuckDB and this data well: at the end of the data
-- (t = 1514779281000, day 17531 in New York) and of the log (seq 14787990), over ten copies of the shop.
--
-- What makes it fast: groups by `source_id`, which Parquet keeps as a dictionary, before the join with `identities`;
-- short windows from scans of their own, which skip the files before them; days as bits instead of sets; event ids are
-- read of those events alone that can be somebody's first or last.
-- What it may know because the data is this: no amount is negative, no sum leaves 64 bits, nobody has been to more
-- than 256 stores, departments, baskets (30 days) or kinds of campaign.
WITH
purchases AS (
  SELECT
    source_id,
    sum(n_amount) AS total,
    count(n_amount) AS priced,
    max(n_amount) AS dearest,
    count(*) AS items,
    min(ts_ms) AS first_ms,
    max(ts_ms) AS last_ms,
    max(ts_ms) FILTER (s_department = 'FUEL') AS fuel_ms,
    min(ts_ms) FILTER (s_store_id IS NOT NULL) AS first_store_ms,
    max(ts_ms) FILTER (s_store_id IS NOT NULL) AS last_store_ms,
    sum(n_amount) FILTER (ts_ms >= 1483228800000) AS total_365d,
    count(*) FILTER (n_amount > 20000000 AND n_quantity = 1000000 AND ts_ms >= 1483228800000) AS dear_365d,
    sum(n_coupon_discount) FILTER (n_coupon_discount > 0 AND ts_ms >= 1483228800000) AS coupon_365d,
    list(DISTINCT s_store_id) FILTER (ts_ms >= 1483228800000) AS stores_365d
  FROM events
  WHERE name = 'purchase' AND kind IN ('track', 'page', 'screen', 'system')
    AND seq <= 14787990 AND ts_ms < 1514779281000
  GROUP BY source_id
),
purchases_90d AS (
  SELECT
    source_id,
    sum(n_amount) FILTER (ts_ms >= 1507003200000) AS total,
    count(n_amount) FILTER (ts_ms >= 1507003200000) AS priced,
    max(n_amount) FILTER (ts_ms >= 1507003200000) AS dearest,
    count(*) FILTER (ts_ms >= 1507003200000) AS items,
    bitstring_agg(local_day, 17442, 17531) FILTER (local_day BETWEEN 17442 AND 17531) AS days,
    list(DISTINCT s_department) FILTER (ts_ms >= 1507003200000) AS departments,
    sum(n_amount) FILTER (s_department = 'GROCERY' AND ts_ms >= 1507003200000) AS grocery,
    sum(n_amount) FILTER (s_department IN ('PRODUCE', 'SEAFOOD', 'SALAD BAR') AND ts_ms >= 1507003200000) AS fresh,
    count(*) FILTER (s_department = 'FUEL' AND ts_ms >= 1507003200000) AS fuel,
    count(*) FILTER (s_brand = 'Private' AND ts_ms >= 1507003200000) AS private,
    sum(n_retail_discount) FILTER (ts_ms >= 1507003200000) AS discount,
    max(ts_ms) FILTER (s_department IS NOT NULL AND ts_ms >= 1507003200000) AS last_department_ms
  FROM events
  WHERE name = 'purchase' AND kind IN ('track', 'page', 'screen', 'system')
    AND seq <= 14787990 AND ts_ms < 1514779281000 AND ts_ms >= 1506938400000
  GROUP BY source_id
),
purchase_ends AS (
  SELECT
    source_id,
    min({'ts_ms': ts_ms, 'event_id': event_id, 'store': s_store_id}) FILTER (s_store_id IS NOT NULL) AS first_store,
    max({'ts_ms': ts_ms, 'event_id': event_id, 'store': s_store_id}) FILTER (s_store_id IS NOT NULL) AS last_store,
    max({'ts_ms': ts_ms, 'event_id': event_id, 'department': s_department})
      FILTER (s_department IS NOT NULL AND ts_ms >= 1507003200000) AS last_department
  FROM events
  WHERE name = 'purchase' AND kind IN ('track', 'page', 'screen', 'system')
    AND seq <= 14787990 AND ts_ms < 1514779281000
    AND ts_ms IN (
      SELECT unnest([first_store_ms, last_store_ms]) FROM purchases
      UNION ALL SELECT last_department_ms FROM purchases_90d
    )
  GROUP BY source_id
),
purchases_30d AS (
  SELECT
    source_id,
    sum(n_amount) FILTER (ts_ms >= 1512187200000) AS total,
    min(n_amount) FILTER (ts_ms >= 1512187200000) AS cheapest,
    count(*) FILTER (ts_ms >= 1512187200000) AS items,
    sum(n_quantity) FILTER (ts_ms >= 1512187200000) AS quantity,
    count(*) FILTER (s_department = 'PRODUCE' AND ts_ms >= 1512187200000) AS produce,
    list(DISTINCT s_basket_id) FILTER (ts_ms >= 1512187200000) AS baskets,
    bitstring_agg(local_day, 17502, 17531) FILTER (local_day BETWEEN 17502 AND 17531) AS days,
    bitstring_agg(local_day, 17518, 17531) FILTER (local_day BETWEEN 17518 AND 17531) AS days_14d,
    bitstring_agg(local_day, 17502, 17531)
      FILTER (s_department IN ('PRODUCE', 'SEAFOOD', 'SALAD BAR') AND local_day BETWEEN 17502 AND 17531) AS fresh_days,
    sum(n_amount) FILTER (ts_ms >= 1514174400000) AS total_7d,
    count(*) FILTER (ts_ms >= 1514174400000) AS items_7d
  FROM events
  WHERE name = 'purchase' AND kind IN ('track', 'page', 'screen', 'system')
    AND seq <= 14787990 AND ts_ms < 1514779281000 AND ts_ms >= 1512122400000
  GROUP BY source_id
),
campaigns AS (
  SELECT
    source_id,
    count(*) AS campaigns,
    count(*) FILTER (ts_ms >= 1507003200000) AS campaigns_90d,
    list(DISTINCT s_campaign_type) AS types,
    max({'ts_ms': ts_ms, 'event_id': event_id, 'type': s_campaign_type})
      FILTER (s_campaign_type IS NOT NULL) AS last_type
  FROM events
  WHERE name = 'campaign_received' AND kind IN ('track', 'page', 'screen', 'system')
    AND seq <= 14787990 AND ts_ms < 1514779281000
  GROUP BY source_id
),
coupons AS (
  SELECT
    source_id,
    count(*) AS coupons,
    count(*) FILTER (s_campaign_type = 'Type A' AND ts_ms >= 1499212800000) AS type_a,
    bitstring_agg(local_day, 17167, 17531) FILTER (local_day BETWEEN 17167 AND 17531) AS days,
    max(ts_ms) AS last_ms
  FROM events
  WHERE name = 'coupon_redeemed' AND kind IN ('track', 'page', 'screen', 'system')
    AND seq <= 14787990 AND ts_ms < 1514779281000
  GROUP BY source_id
),
anything AS (
  SELECT
    source_id,
    count(*) FILTER (ts_ms >= 1514692800000) AS events_24h,
    bitstring_agg(local_day, 17502, 17531) FILTER (local_day BETWEEN 17502 AND 17531) AS days
  FROM events
  WHERE kind IN ('track', 'page', 'screen') AND seq <= 14787990 AND ts_ms < 1514779281000 AND ts_ms >= 1512122400000
  GROUP BY source_id
),
people AS (
  SELECT
    identities.profile_id,
    CAST(sum(p.total) AS BIGINT) AS total,
    CAST(sum(p.priced) AS BIGINT) AS priced,
    max(p.dearest) AS dearest,
    CAST(sum(p.items) AS BIGINT) AS items,
    min(p.first_ms) AS first_ms,
    max(p.last_ms) AS last_ms,
    max(p.fuel_ms) AS fuel_ms,
    CAST(sum(p.total_365d) AS BIGINT) AS total_365d,
    CAST(sum(p.dear_365d) AS BIGINT) AS dear_365d,
    CAST(sum(p.coupon_365d) AS BIGINT) AS coupon_365d,
    len(list_distinct(flatten(list(p.stores_365d)))) AS stores_365d,
    min(e.first_store).store AS first_store,
    max(e.last_store).store AS last_store,
    CAST(sum(q.total) AS BIGINT) AS total_90d,
    CAST(sum(q.priced) AS BIGINT) AS priced_90d,
    max(q.dearest) AS dearest_90d,
    CAST(sum(q.items) AS BIGINT) AS items_90d,
    bit_count(bit_or(q.days)) AS days_90d,
    len(list_distinct(flatten(list(q.departments)))) AS departments_90d,
    CAST(sum(q.grocery) AS BIGINT) AS grocery_90d,
    CAST(sum(q.fresh) AS BIGINT) AS fresh_90d,
    CAST(sum(q.fuel) AS BIGINT) AS fuel_90d,
    CAST(sum(q.private) AS BIGINT) AS private_90d,
    CAST(sum(q.discount) AS BIGINT) AS discount_90d,
    max(e.last_department).department AS last_department,
    CAST(sum(m.total) AS BIGINT) AS total_30d,
    min(m.cheapest) AS cheapest_30d,
    CAST(sum(m.items) AS BIGINT) AS items_30d,
    CAST(sum(m.quantity) AS BIGINT) AS quantity_30d,
    CAST(sum(m.produce) AS BIGINT) AS produce_30d,
    len(list_distinct(flatten(list(m.baskets)))) AS baskets_30d,
    bit_count(bit_or(m.days)) AS days_30d,
    bit_count(bit_or(m.days_14d)) AS days_14d,
    bit_count(bit_or(m.fresh_days)) AS fresh_days_30d,
    CAST(sum(m.total_7d) AS BIGINT) AS total_7d,
    CAST(sum(m.items_7d) AS BIGINT) AS items_7d,
    CAST(sum(c.campaigns) AS BIGINT) AS campaigns,
    CAST(sum(c.campaigns_90d) AS BIGINT) AS campaigns_90d,
    len(list_distinct(flatten(list(c.types)))) AS campaign_types,
    max(c.last_type).type AS last_campaign_type,
    CAST(sum(r.coupons) AS BIGINT) AS coupons,
    CAST(sum(r.type_a) AS BIGINT) AS coupons_type_a,
    bit_count(bit_or(r.days)) AS coupon_days,
    max(r.last_ms) AS coupon_ms,
    CAST(sum(a.events_24h) AS BIGINT) AS events_24h,
    bit_count(bit_or(a.days)) AS active_days_30d
  FROM identities
  LEFT JOIN purchases AS p USING (source_id)
  LEFT JOIN purchase_ends AS e USING (source_id)
  LEFT JOIN purchases_90d AS q USING (source_id)
  LEFT JOIN purchases_30d AS m USING (source_id)
  LEFT JOIN campaigns AS c USING (source_id)
  LEFT JOIN coupons AS r USING (source_id)
  LEFT JOIN anything AS a USING (source_id)
  WHERE identities.valid_from_seq <= 14787990
    AND (identities.valid_to_seq IS NULL OR identities.valid_to_seq > 14787990)
  GROUP BY identities.profile_id
),
rounded AS (
  SELECT
    *,
    (2 * total + priced) // (2 * nullif(priced, 0)) AS average,
    (2 * total_90d + priced_90d) // (2 * nullif(priced_90d, 0)) AS average_90d,
    (2 * coalesce(total_90d, 0) + 3) // 6 AS month_of_90d
  FROM people
)
SELECT
  profiles.profile_id,
  CAST(coalesce(total, 0) * 0.000001 AS DECIMAL(19, 6)) AS total_spent,
  CAST(coalesce(total_7d, 0) * 0.000001 AS DECIMAL(19, 6)) AS spend_7d,
  CAST(coalesce(total_30d, 0) * 0.000001 AS DECIMAL(19, 6)) AS spend_30d,
  CAST(coalesce(total_90d, 0) * 0.000001 AS DECIMAL(19, 6)) AS spend_90d,
  CAST(coalesce(total_365d, 0) * 0.000001 AS DECIMAL(19, 6)) AS spend_365d,
  CAST(average * 0.000001 AS DECIMAL(19, 6)) AS average_item_price,
  CAST(average_90d * 0.000001 AS DECIMAL(19, 6)) AS average_item_price_90d,
  CAST(dearest * 0.000001 AS DECIMAL(19, 6)) AS dearest_item,
  CAST(dearest_90d * 0.000001 AS DECIMAL(19, 6)) AS dearest_item_90d,
  CAST(cheapest_30d * 0.000001 AS DECIMAL(19, 6)) AS cheapest_item_30d,
  CAST((2000000 * CAST(coalesce(total_30d, 0) AS HUGEINT) + month_of_90d) // (2 * nullif(month_of_90d, 0)) * 0.000001
    AS DECIMAL(19, 6)) AS spend_trend,
  CAST((2 * coalesce(total_90d, 0) + days_90d) // (2 * nullif(days_90d, 0)) * 0.000001 AS DECIMAL(19, 6))
    AS spend_per_shopping_day_90d,
  coalesce(items, 0) AS items,
  coalesce(items_7d, 0) AS items_7d,
  coalesce(items_30d, 0) AS items_30d,
  coalesce(items_90d, 0) AS items_90d,
  CAST(coalesce(quantity_30d, 0) * 0.000001 AS DECIMAL(19, 6)) AS quantity_30d,
  coalesce(baskets_30d, 0) AS baskets_30d,
  coalesce(days_14d, 0) AS shopping_days_14d,
  coalesce(days_30d, 0) AS shopping_days_30d,
  coalesce(days_90d, 0) AS shopping_days_90d,
  (1514779281000 - last_ms) // 86400000 AS days_since_purchase,
  (1514779281000 - first_ms) // 86400000 AS days_since_first_purchase,
  (1514779281000 - profiles.first_seen_ms) // 86400000 AS customer_for_days,
  first_store,
  last_store,
  last_department AS last_department_90d,
  coalesce(stores_365d, 0) AS stores_365d,
  coalesce(departments_90d, 0) AS departments_90d,
  CAST(coalesce(grocery_90d, 0) * 0.000001 AS DECIMAL(19, 6)) AS grocery_spend_90d,
  coalesce(produce_30d, 0) AS produce_items_30d,
  CAST(coalesce(fresh_90d, 0) * 0.000001 AS DECIMAL(19, 6)) AS fresh_spend_90d,
  coalesce(fresh_days_30d, 0) AS fresh_days_30d,
  coalesce(fuel_90d, 0) AS fuel_stops_90d,
  (1514779281000 - fuel_ms) // 86400000 AS days_since_fuel,
  coalesce(private_90d, 0) AS private_label_items_90d,
  coalesce(dear_365d, 0) AS dear_items_365d,
  CAST(coalesce(discount_90d, 0) * 0.000001 AS DECIMAL(19, 6)) AS discount_90d,
  CAST(coalesce(coupon_365d, 0) * 0.000001 AS DECIMAL(19, 6)) AS coupon_discount_365d,
  coalesce(campaigns, 0) AS campaigns,
  coalesce(campaigns_90d, 0) AS campaigns_90d,
  coalesce(campaign_types, 0) AS campaign_types,
  last_campaign_type,
  coalesce(coupons, 0) AS coupons,
  coalesce(coupons_type_a, 0) AS coupons_type_a_180d,
  coalesce(coupon_days, 0) AS coupon_days_365d,
  (1514779281000 - coupon_ms) // 86400000 AS days_since_coupon,
  CAST((2000000 * coalesce(coupons, 0) + campaigns) // (2 * nullif(campaigns, 0)) * 0.000001 AS DECIMAL(19, 6))
    AS coupons_per_campaign,
  coalesce(events_24h, 0) AS events_24h,
  coalesce(active_days_30d, 0) AS active_days_30d
FROM profiles
LEFT JOIN rounded USING (profile_id)
