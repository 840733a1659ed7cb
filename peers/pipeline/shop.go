package main

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"sort"
	"strconv"
	"strings"
	"time"
)

// A change is what one record does to one wide row.
type change struct {
	kind, row string // "order" or "product", and its row key
	cells     []cell
}

type envelope struct {
	Before map[string]json.RawMessage `json:"before"`
	After  map[string]json.RawMessage `json:"after"`
	Source struct {
		Table string `json:"table"`
	} `json:"source"`
}

var times = map[string]bool{"created_at": true, "updated_at": true, "paid_at": true}

// text is a column's canonical text; false for null.
func text(column string, raw json.RawMessage) ([]byte, bool) {
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return []byte{0}, false
	}
	if raw[0] == '"' {
		var s string
		_ = json.Unmarshal(raw, &s)
		return []byte(s), true
	}
	if times[column] {
		ms, _ := strconv.ParseInt(string(raw), 10, 64)
		return []byte(time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05")), true
	}
	return raw, true
}

func keyOf(table string, row map[string]json.RawMessage) (kind, key, child string) {
	id := "id"
	if table == "refund" {
		id = "refund_id"
	}
	number, _ := text("", row[id])
	child = string(number)
	if table == "product" {
		sum := md5.Sum(number)
		return "product", hex.EncodeToString(sum[:])[:4] + ":" + child, child
	}
	order, _ := text("", row["order_no"])
	no := string(order)
	last := no
	if len(last) > 4 {
		last = last[len(last)-4:]
	}
	return "order", strings.Repeat("0", 4-len(last)) + last + ":" + no, child
}

// changes decodes a record. Every cell carries the record's stamp, so that arrival order does not matter; a deleted table
// row becomes a tombstone cell, and a row that moved to another order is deleted there.
func changes(body []byte, offset int64) ([]change, error) {
	if len(body) == 0 {
		return nil, nil
	}
	var e envelope
	if err := json.Unmarshal(body, &e); err != nil {
		return nil, err
	}
	stamp := uint64(offset) + 1
	var out []change
	kind, key, child := "", "", ""
	if e.After != nil {
		kind, key, child = keyOf(e.Source.Table, e.After)
		c := change{kind: kind, row: key}
		for column, raw := range e.After {
			value, _ := text(column, raw)
			c.cells = append(c.cells, cell{e.Source.Table + ":" + column + ":" + child, stamp, value})
		}
		out = append(out, c)
	}
	if e.Before != nil {
		oldKind, oldKey, oldChild := keyOf(e.Source.Table, e.Before)
		if e.After == nil || oldKey != key {
			dead := cell{e.Source.Table + ":#del:" + oldChild, stamp, []byte("1")}
			out = append(out, change{oldKind, oldKey, []cell{dead}})
		}
	}
	return out, nil
}

type part struct {
	child string
	value map[string][]byte
}

// alive sorts a row's cells into living table rows, by table, children in the order of their numbers.
func alive(row []cell) map[string][]part {
	type place struct{ table, child string }
	dead, found := map[place]uint64{}, map[place]map[string]cell{}
	for _, c := range row {
		names := strings.SplitN(c.qualifier, ":", 3)
		if len(names) < 3 {
			continue
		}
		at := place{names[0], names[2]}
		if names[1] == "#del" {
			dead[at] = c.stamp
			continue
		}
		if found[at] == nil {
			found[at] = map[string]cell{}
		}
		found[at][names[1]] = c
	}
	out := map[string][]part{}
	for at, columns := range found {
		values := map[string][]byte{}
		for column, c := range columns {
			if c.stamp > dead[at] {
				values[column] = c.value
			}
		}
		if len(values) > 0 {
			out[at.table] = append(out[at.table], part{at.child, values})
		}
	}
	for _, parts := range out {
		sort.Slice(parts, func(a, b int) bool {
			x, _ := strconv.ParseInt(parts[a].child, 10, 64)
			y, _ := strconv.ParseInt(parts[b].child, 10, 64)
			return x < y
		})
	}
	return out
}

var numbers = map[string]bool{"status": true, "amount": true, "pay_amount": true, "paid": true, "state": true,
	"rp_status": true, "id": true, "qty": true, "price": true, "stock": true}

type writer struct {
	out   bytes.Buffer
	comma bool
}

func (w *writer) name(name string) {
	if w.comma {
		w.out.WriteByte(',')
	}
	w.comma = true
	w.out.WriteByte('"')
	w.out.WriteString(name)
	w.out.WriteString(`":`)
}

func (w *writer) field(name string, p part, column string) {
	value, ok := p.value[column]
	if !ok {
		return
	}
	w.name(name)
	w.value(column, value)
}

func (w *writer) value(column string, value []byte) {
	switch {
	case len(value) == 1 && value[0] == 0:
		w.out.WriteString("null")
	case numbers[column]:
		w.out.Write(value)
	default:
		encoded, _ := json.Marshal(string(value))
		w.out.Write(encoded)
	}
}

// orderDocument is nil when the order does not live.
func orderDocument(row []cell) []byte {
	parts := alive(row)
	orders := parts["orders"]
	if len(orders) == 0 {
		return nil
	}
	var w writer
	w.out.WriteByte('{')
	order := orders[len(orders)-1]
	for _, column := range []string{"order_no", "status", "amount", "pay_amount", "channel", "receiver", "city", "created_at"} {
		w.field(column, order, column)
	}
	paid := []byte("0")
	if payments := parts["payment"]; len(payments) > 0 {
		payment := payments[len(payments)-1]
		if value := payment.value["paid"]; len(value) > 0 && value[0] != 0 {
			paid = value
		}
		w.field("pay_state", payment, "state")
	}
	w.name("paid")
	w.value("paid", paid)
	if refunds := parts["refund"]; len(refunds) > 0 {
		w.field("refund_status", refunds[len(refunds)-1], "rp_status")
	}
	w.name("items")
	w.out.WriteByte('[')
	total := new(big.Int)
	for at, item := range parts["order_item"] {
		if at > 0 {
			w.out.WriteByte(',')
		}
		w.out.WriteByte('{')
		w.comma = false
		for _, names := range [][2]string{{"id", "id"}, {"name", "goods_name"}, {"sku", "sku"}, {"qty", "qty"}, {"price", "price"}, {"status", "status"}} {
			w.field(names[0], item, names[1])
		}
		w.out.WriteByte('}')
		if qty, ok := new(big.Int).SetString(string(item.value["qty"]), 10); ok {
			total.Add(total, qty)
		}
	}
	w.out.WriteByte(']')
	w.comma = true
	w.name("qty_total")
	w.out.WriteString(total.String())
	w.name("item_count")
	w.out.WriteString(strconv.Itoa(len(parts["order_item"])))
	w.out.WriteByte('}')
	return w.out.Bytes()
}

func productDocument(row []cell) []byte {
	products := alive(row)["product"]
	if len(products) == 0 {
		return nil
	}
	var w writer
	w.out.WriteByte('{')
	for _, column := range []string{"id", "name", "brand", "category", "price", "stock", "status", "tags", "updated_at"} {
		w.field(column, products[len(products)-1], column)
	}
	w.out.WriteByte('}')
	return w.out.Bytes()
}
