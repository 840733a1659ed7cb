-- The shop that `widerow generate` and the demo speak of: five tables, an order and a product, and a procedure that trades.
create database shop;
use shop;

create table orders (
  id bigint primary key,
  order_no varchar(32),
  user_id bigint,
  status int,
  amount decimal(18,2),
  pay_amount decimal(18,2),
  freight decimal(10,2),
  coupon decimal(10,2),
  channel varchar(64),
  receiver varchar(64),
  city varchar(64),
  remark longtext,
  created_at datetime,
  updated_at datetime
);
create table order_item (
  id bigint primary key,
  order_no varchar(32),
  product_id bigint,
  goods_name varchar(64),
  sku varchar(64),
  qty int,
  price decimal(10,2),
  discount decimal(10,2),
  status int,
  updated_at datetime
);
create table payment (
  id bigint primary key,
  order_no varchar(32),
  paid decimal(18,2),
  method varchar(64),
  state int,
  paid_at datetime
);
create table refund (
  refund_id bigint primary key,
  order_no varchar(32),
  amount decimal(18,2),
  rp_status int,
  reason varchar(64),
  created_at datetime,
  updated_at datetime,
  operator varchar(64),
  note varchar(64)
);
create table product (
  id bigint primary key,
  name varchar(64),
  brand varchar(64),
  category varchar(64),
  price decimal(10,2),
  cost decimal(10,2),
  stock int,
  weight int,
  length int,
  width int,
  height int,
  color varchar(64),
  size varchar(64),
  status int,
  tags varchar(64),
  supplier varchar(64),
  created_at datetime,
  updated_at datetime
);

insert into product (id, name, brand, category, price, cost, stock, status, created_at, updated_at)
values (1, 'teapot', 'Brown', 'kitchen', 8.80, 3.20, 1000000, 1, now(), now());

delimiter //
-- call shop.trade(10): so many orders, each with two items, paid; every fifth is given back.
create procedure trade(in count int)
begin
  declare n bigint default (select coalesce(max(id), 0) from orders);
  declare last bigint default n + count;
  while n < last do
    set n = n + 1;
    start transaction;
    insert into orders (id, order_no, user_id, status, amount, pay_amount, freight, coupon, channel, city, created_at, updated_at)
    values (n, concat('NO', lpad(n, 10, '0')), n % 97, 1, 17.60, 17.60, 0, 0, 'web', 'Bern', now(), now());
    insert into order_item (id, order_no, product_id, goods_name, sku, qty, price, discount, status, updated_at)
    values (2 * n - 1, concat('NO', lpad(n, 10, '0')), 1, 'teapot', 'teapot-brown', 1, 8.80, 0, 1, now()),
           (2 * n, concat('NO', lpad(n, 10, '0')), 1, 'teapot', 'teapot-brown', 1, 8.80, 0, 1, now());
    update product set stock = stock - 2, updated_at = now() where id = 1;
    commit;
    start transaction;
    insert into payment (id, order_no, paid, method, state, paid_at)
    values (n, concat('NO', lpad(n, 10, '0')), 17.60, 'card', 2, now());
    update orders set status = 2, updated_at = now() where id = n;
    commit;
    if n % 5 = 0 then
      insert into refund (refund_id, order_no, amount, rp_status, reason, created_at, updated_at)
      values (n, concat('NO', lpad(n, 10, '0')), 17.60, 1, 'broken', now(), now());
      update refund set rp_status = 3, updated_at = now() where refund_id = n;
    end if;
  end while;
end //
delimiter ;

-- Enough that every table has a row: a table without one has no topic.
call trade(5);
