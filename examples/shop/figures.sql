-- The shop at a glance, from the table of events; exposures of decisions and others of our own are left out. One row.
SELECT
    count(DISTINCT source_id) AS households,
    count(*) FILTER (WHERE name = 'purchase') AS purchases,
    count(DISTINCT p_basket_id) FILTER (WHERE name = 'purchase') AS baskets,
    sum(p_amount) FILTER (WHERE name = 'purchase') AS sales,
    count(DISTINCT source_id) FILTER (WHERE name = 'campaign_received') AS households_reached,
    count(DISTINCT source_id) FILTER (WHERE name = 'coupon_redeemed') AS households_that_redeemed,
    count(*) FILTER (WHERE kind <> 'system') AS events
FROM events
