-- Four tables of a shop, as Debezium tells their changes, merged into one document an order.
-- FOLDER holds a file of bodies for each table, in the order of its log.

CREATE TABLE orders (
  id BIGINT, order_no STRING, user_id BIGINT, status INT, amount DECIMAL(18, 2), pay_amount DECIMAL(18, 2), freight DECIMAL(10, 2),
  coupon DECIMAL(10, 2), channel STRING, receiver STRING, city STRING, remark STRING, created_at BIGINT, updated_at BIGINT,
  PRIMARY KEY (order_no) NOT ENFORCED
) WITH ('connector' = 'filesystem', 'path' = 'FOLDER/orders', 'format' = 'debezium-json');

CREATE TABLE order_item (
  id BIGINT, order_no STRING, product_id BIGINT, goods_name STRING, sku STRING, qty INT, price DECIMAL(10, 2),
  discount DECIMAL(10, 2), status INT, updated_at BIGINT,
  PRIMARY KEY (id) NOT ENFORCED
) WITH ('connector' = 'filesystem', 'path' = 'FOLDER/order_item', 'format' = 'debezium-json');

-- An order has one payment and one refund at most at any moment of their tables' logs; Flink joins cheapest when it is told.
CREATE TABLE payment (
  id BIGINT, order_no STRING, paid DECIMAL(18, 2), `method` STRING, state INT, paid_at BIGINT,
  PRIMARY KEY (order_no) NOT ENFORCED
) WITH ('connector' = 'filesystem', 'path' = 'FOLDER/payment', 'format' = 'debezium-json');

CREATE TABLE refund (
  refund_id BIGINT, order_no STRING, amount DECIMAL(18, 2), rp_status INT, reason STRING, created_at BIGINT, updated_at BIGINT,
  `operator` STRING, note STRING,
  PRIMARY KEY (order_no) NOT ENFORCED
) WITH ('connector' = 'filesystem', 'path' = 'FOLDER/refund', 'format' = 'debezium-json');

CREATE TABLE documents (
  order_no STRING, status INT, amount DECIMAL(18, 2), pay_amount DECIMAL(18, 2), channel STRING, receiver STRING, city STRING,
  created_at STRING, paid DECIMAL(18, 2), pay_state INT, refund_status INT,
  items ARRAY<ROW<id BIGINT, name STRING, sku STRING, qty INT, price DECIMAL(10, 2), status INT>>,
  qty_total INT, item_count BIGINT,
  PRIMARY KEY (order_no) NOT ENFORCED
) WITH ('connector' = 'kept', 'format' = 'json', 'json.encode.decimal-as-plain-number' = 'true');

INSERT INTO documents
SELECT o.order_no, o.status, o.amount, o.pay_amount, o.channel, o.receiver, o.city,
  DATE_FORMAT(TO_TIMESTAMP_LTZ(o.created_at, 3), 'yyyy-MM-dd HH:mm:ss'),
  COALESCE(p.paid, 0), p.state, r.rp_status, i.items, COALESCE(i.qty_total, 0), COALESCE(i.item_count, 0)
FROM orders o
LEFT JOIN payment p ON o.order_no = p.order_no
LEFT JOIN refund r ON o.order_no = r.order_no
LEFT JOIN (
  SELECT order_no,
    ARRAY_AGG(CAST(ROW(id, goods_name, sku, qty, price, status)
      AS ROW<id BIGINT, name STRING, sku STRING, qty INT, price DECIMAL(10, 2), status INT>)) AS items,
    SUM(qty) AS qty_total, COUNT(*) AS item_count
  FROM order_item GROUP BY order_no
) i ON o.order_no = i.order_no;
