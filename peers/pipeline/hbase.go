package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sort"
	"strings"
	"sync"
	"sync/atomic"

	pb "google.golang.org/protobuf/encoding/protowire"
)

// The part of HBase's protocol that a put, an increment and a get need, in calls of many rows as gohbase sends them. One
// region server; regions do not move while a run lasts.

type hbase struct {
	conn    net.Conn
	mu      sync.Mutex
	waiting map[uint64]chan reply
	next    atomic.Uint64
	regions map[string][]region
	writes  chan []byte
}

type region struct{ start, name string }

type reply struct {
	body []byte
	err  error
}

type cell struct {
	qualifier string
	stamp     uint64
	value     []byte
}

// action is one put, increment or get of a row.
type action struct {
	table, row string
	body       []byte // field 2 (mutation) or 3 (get) of an Action
	cells      []cell
	err        error
	done       chan struct{}
}

func dialHBase(address string) (*hbase, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	hello := []byte{'H', 'B', 'a', 's', 0, 80}
	user := pb.AppendString(pb.AppendTag(nil, 1, pb.BytesType), "peer")
	header := pb.AppendBytes(pb.AppendTag(nil, 1, pb.BytesType), user)
	header = pb.AppendString(pb.AppendTag(header, 2, pb.BytesType), "ClientService")
	hello = binary.BigEndian.AppendUint32(hello, uint32(len(header)))
	if _, err := conn.Write(append(hello, header...)); err != nil {
		return nil, err
	}
	h := &hbase{conn: conn, waiting: map[uint64]chan reply{}, regions: map[string][]region{}, writes: make(chan []byte, 64)}
	go h.read()
	go h.write()
	return h, nil
}

func (h *hbase) write() {
	out := bufio.NewWriterSize(h.conn, 1<<20)
	for frame := range h.writes {
		out.Write(frame)
		for more := true; more; {
			select {
			case frame = <-h.writes:
				out.Write(frame)
			default:
				more = false
			}
		}
		if out.Flush() != nil {
			return
		}
	}
}

func (h *hbase) read() {
	in := bufio.NewReaderSize(h.conn, 1<<20)
	var head [4]byte
	for {
		if _, err := io.ReadFull(in, head[:]); err != nil {
			h.fail(err)
			return
		}
		frame := make([]byte, binary.BigEndian.Uint32(head[:]))
		if _, err := io.ReadFull(in, frame); err != nil {
			h.fail(err)
			return
		}
		header, n := pb.ConsumeBytes(frame)
		if n < 0 {
			h.fail(errors.New("unreadable header"))
			return
		}
		var id uint64
		var failed error
		fields(header, func(num pb.Number, value uint64, bytes []byte) {
			switch num {
			case 1:
				id = value
			case 2:
				failed = errors.New(string(bytes))
			}
		})
		var body []byte
		if failed == nil && n < len(frame) {
			body, _ = pb.ConsumeBytes(frame[n:])
		}
		h.mu.Lock()
		waiting := h.waiting[id]
		delete(h.waiting, id)
		h.mu.Unlock()
		if waiting != nil {
			waiting <- reply{body, failed}
		}
	}
}

func (h *hbase) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, waiting := range h.waiting {
		waiting <- reply{nil, err}
		delete(h.waiting, id)
	}
}

func (h *hbase) call(method string, body []byte) ([]byte, error) {
	id := h.next.Add(1)
	header := pb.AppendVarint(pb.AppendTag(nil, 1, pb.VarintType), id)
	header = pb.AppendString(pb.AppendTag(header, 3, pb.BytesType), method)
	header = pb.AppendVarint(pb.AppendTag(header, 4, pb.VarintType), 1)
	size := pb.SizeBytes(len(header)) + pb.SizeBytes(len(body))
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, size+4), uint32(size))
	frame = pb.AppendBytes(pb.AppendBytes(frame, header), body)
	answer := make(chan reply, 1)
	h.mu.Lock()
	h.waiting[id] = answer
	h.mu.Unlock()
	h.writes <- frame
	got := <-answer
	return got.body, got.err
}

func specifier(name string) []byte {
	out := pb.AppendVarint(pb.AppendTag(nil, 1, pb.VarintType), 1)
	return pb.AppendString(pb.AppendTag(out, 2, pb.BytesType), name)
}

// open learns a table's regions: their names are the row keys of hbase:meta.
func (h *hbase) open(table string) error {
	scan := pb.AppendString(pb.AppendTag(nil, 3, pb.BytesType), table+",,")
	scan = pb.AppendString(pb.AppendTag(scan, 4, pb.BytesType), table+"-")
	body := pb.AppendBytes(pb.AppendTag(nil, 1, pb.BytesType), specifier("hbase:meta,,1"))
	body = pb.AppendBytes(pb.AppendTag(body, 2, pb.BytesType), scan)
	body = pb.AppendVarint(pb.AppendTag(body, 4, pb.VarintType), 1000)
	body = pb.AppendVarint(pb.AppendTag(body, 5, pb.VarintType), 1)
	answer, err := h.call("Scan", body)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	fields(answer, func(num pb.Number, _ uint64, result []byte) {
		if num != 5 {
			return
		}
		fields(result, func(num pb.Number, _ uint64, cell []byte) {
			if num != 1 {
				return
			}
			fields(cell, func(num pb.Number, _ uint64, row []byte) {
				if num == 1 && !seen[string(row)] {
					seen[string(row)] = true
					name := string(row)
					start := name[len(table)+1 : strings.LastIndexByte(name, ',')]
					h.regions[table] = append(h.regions[table], region{start, name})
				}
			})
		})
	})
	if len(h.regions[table]) == 0 {
		return fmt.Errorf("no regions of %s", table)
	}
	sort.Slice(h.regions[table], func(a, b int) bool { return h.regions[table][a].start < h.regions[table][b].start })
	return nil
}

func (h *hbase) regionOf(table, row string) string {
	regions := h.regions[table]
	at := sort.Search(len(regions), func(i int) bool { return regions[i].start > row })
	return regions[at-1].name
}

func put(table, row, family string, cells []cell) *action {
	column := pb.AppendString(pb.AppendTag(nil, 1, pb.BytesType), family)
	var one []byte
	for _, c := range cells {
		one = pb.AppendString(pb.AppendTag(one[:0], 1, pb.BytesType), c.qualifier)
		one = pb.AppendBytes(pb.AppendTag(one, 2, pb.BytesType), c.value)
		one = pb.AppendVarint(pb.AppendTag(one, 3, pb.VarintType), c.stamp)
		column = pb.AppendBytes(pb.AppendTag(column, 2, pb.BytesType), one)
	}
	return mutation(table, row, 2, column)
}

func increment(table, row, family, qualifier string) *action {
	column := pb.AppendString(pb.AppendTag(nil, 1, pb.BytesType), family)
	one := pb.AppendString(pb.AppendTag(nil, 1, pb.BytesType), qualifier)
	one = pb.AppendBytes(pb.AppendTag(one, 2, pb.BytesType), binary.BigEndian.AppendUint64(nil, 1))
	column = pb.AppendBytes(pb.AppendTag(column, 2, pb.BytesType), one)
	return mutation(table, row, 1, column)
}

func mutation(table, row string, kind uint64, column []byte) *action {
	body := pb.AppendString(pb.AppendTag(nil, 1, pb.BytesType), row)
	body = pb.AppendVarint(pb.AppendTag(body, 2, pb.VarintType), kind)
	body = pb.AppendBytes(pb.AppendTag(body, 3, pb.BytesType), column)
	return &action{table: table, row: row, body: pb.AppendBytes(pb.AppendTag(nil, 2, pb.BytesType), body), done: make(chan struct{})}
}

func get(table, row string) *action {
	body := pb.AppendString(pb.AppendTag(nil, 1, pb.BytesType), row)
	return &action{table: table, row: row, body: pb.AppendBytes(pb.AppendTag(nil, 3, pb.BytesType), body), done: make(chan struct{})}
}

// multi sends actions in one call and fills in what came of them.
func (h *hbase) multi(actions []*action) {
	var names []string
	byRegion := map[string][]*action{}
	for _, a := range actions {
		name := h.regionOf(a.table, a.row)
		if byRegion[name] == nil {
			names = append(names, name)
		}
		byRegion[name] = append(byRegion[name], a)
	}
	var body []byte
	for _, name := range names {
		part := pb.AppendBytes(pb.AppendTag(nil, 1, pb.BytesType), specifier(name))
		var one []byte
		for i, a := range byRegion[name] {
			one = pb.AppendVarint(pb.AppendTag(one[:0], 1, pb.VarintType), uint64(i))
			one = append(one, a.body...)
			part = pb.AppendBytes(pb.AppendTag(part, 3, pb.BytesType), one)
		}
		body = pb.AppendBytes(pb.AppendTag(body, 1, pb.BytesType), part)
	}
	answer, err := h.call("Multi", body)
	at := 0
	if err == nil {
		fields(answer, func(num pb.Number, _ uint64, result []byte) {
			if num == 1 && at < len(names) {
				took(byRegion[names[at]], result)
				at++
			}
		})
	}
	for _, a := range actions {
		if err != nil {
			a.err = err
		}
		close(a.done)
	}
}

// took reads the results of one region's actions.
func took(actions []*action, result []byte) {
	fields(result, func(num pb.Number, _ uint64, bytes []byte) {
		if num == 2 {
			for _, a := range actions {
				a.err = errors.New(string(bytes))
			}
		}
		if num != 1 {
			return
		}
		index := uint64(0)
		fields(bytes, func(num pb.Number, value uint64, bytes []byte) {
			if num == 1 {
				index = value
			}
			if index >= uint64(len(actions)) {
				return
			}
			switch num {
			case 2:
				actions[index].cells = cells(bytes)
			case 3:
				actions[index].err = errors.New(string(bytes))
			}
		})
	})
}

func cells(result []byte) []cell {
	var out []cell
	fields(result, func(num pb.Number, _ uint64, bytes []byte) {
		if num != 1 {
			return
		}
		var c cell
		fields(bytes, func(num pb.Number, value uint64, bytes []byte) {
			switch num {
			case 3:
				c.qualifier = string(bytes)
			case 4:
				c.stamp = value
			case 6:
				c.value = bytes
			}
		})
		out = append(out, c)
	})
	return out
}

func fields(message []byte, each func(num pb.Number, value uint64, bytes []byte)) {
	for len(message) > 0 {
		num, kind, n := pb.ConsumeTag(message)
		if n < 0 {
			return
		}
		message = message[n:]
		switch kind {
		case pb.VarintType:
			value, n := pb.ConsumeVarint(message)
			if n < 0 {
				return
			}
			each(num, value, nil)
			message = message[n:]
		case pb.BytesType:
			bytes, n := pb.ConsumeBytes(message)
			if n < 0 {
				return
			}
			each(num, 0, bytes)
			message = message[n:]
		default:
			n := pb.ConsumeFieldValue(num, kind, message)
			if n < 0 {
				return
			}
			message = message[n:]
		}
	}
}
