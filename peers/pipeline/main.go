// Package main is the design that widerow replaces, written with care: a consumer that puts each change into the wide row,
// raises the row's counter and enqueues a unique asynq task; workers that get the row, make the document and write it to
// the search server or to Redis under the counter.
//
//	pipeline BROKERS HBASE REDIS SEARCH ROUND RECORDS
//
// HBASE is a region server. Tables ROUND_order and ROUND_product and the index ROUND-orders exist. It ends once RECORDS
// records are consumed and no task is left, and prints one line of JSON.
//
// What it does well: every HBase call, search request and Redis script carries many rows; partitions run beside each other;
// a task's lock is dropped when its handler begins, because a lock that is held to the end swallows the change that comes
// meanwhile. What the design costs: three trips to HBase and two to Redis for each change, whatever is batched.
package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	recordsAtOnce   = 500
	enqueuesAtOnce  = 64
	tasksAtOnce     = 1000
	rowsInCall      = 500
	documentsInCall = 500
	linger          = 5 * time.Millisecond
	lockFor         = time.Hour
)

// batcher gathers what many goroutines want and sends it together, several calls at a time.
type batcher[T any] struct{ in chan T }

func newBatcher[T any](size, inFlight int, send func([]T)) *batcher[T] {
	b := &batcher[T]{in: make(chan T, size*2)}
	for range inFlight {
		go func() {
			for first := range b.in {
				batch := append(make([]T, 0, size), first)
				timer := time.NewTimer(linger)
				for open := true; open && len(batch) < size; {
					select {
					case next := <-b.in:
						batch = append(batch, next)
					case <-timer.C:
						open = false
					}
				}
				timer.Stop()
				send(batch)
			}
		}()
	}
	return b
}

type write struct {
	id       string
	version  int64
	document []byte // nil deletes
	err      error
	done     chan struct{}
}

type peer struct {
	round, search string
	hbase         *hbase
	puts, gets    *batcher[*action]
	bulks, hashes *batcher[*write]
	tasks         *asynq.Client
	redis         *redis.Client
	http          http.Client
	consumed      atomic.Int64
	enqueued      atomic.Int64
	coalesced     atomic.Int64
	first         atomic.Int64
}

func main() {
	if len(os.Args) != 7 {
		fmt.Fprintln(os.Stderr, "usage: pipeline BROKERS HBASE REDIS SEARCH ROUND RECORDS")
		os.Exit(2)
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	records, err := strconv.ParseInt(args[5], 10, 64)
	if err != nil {
		return err
	}
	h, err := dialHBase(args[1])
	if err != nil {
		return err
	}
	p := &peer{round: args[4], search: args[3], hbase: h}
	for _, kind := range []string{"order", "product"} {
		if err := h.open(p.table(kind)); err != nil {
			return err
		}
	}
	p.puts, p.gets = newBatcher(rowsInCall, 4, h.multi), newBatcher(rowsInCall, 4, h.multi)
	p.bulks, p.hashes = newBatcher(documentsInCall, 4, p.bulk), newBatcher(documentsInCall, 2, p.store)
	queue := asynq.RedisClientOpt{Addr: args[2], PoolSize: 64}
	p.tasks = asynq.NewClient(queue)
	p.redis = redis.NewClient(&redis.Options{Addr: args[2], DB: 1, PoolSize: 16})
	locks := redis.NewClient(&redis.Options{Addr: args[2], PoolSize: 64})
	server := asynq.NewServer(queue, asynq.Config{Concurrency: tasksAtOnce, Queues: map[string]int{p.round: 1}, LogLevel: asynq.ErrorLevel,
		TaskCheckInterval: 50 * time.Millisecond})
	handler := func(ctx context.Context, task *asynq.Task) error {
		sum := md5.Sum(task.Payload())
		lock := "asynq:{" + p.round + "}:unique:" + task.Type() + ":" + hex.EncodeToString(sum[:])
		if err := locks.Del(ctx, lock).Err(); err != nil {
			return err
		}
		return p.deliver(task.Type(), string(task.Payload()))
	}
	if err := server.Start(asynq.HandlerFunc(handler)); err != nil {
		return err
	}
	if err := p.consume(args[0], records); err != nil {
		return err
	}
	inspector := asynq.NewInspector(queue)
	for {
		info, err := inspector.GetQueueInfo(p.round)
		if err != nil {
			return err
		}
		if info.Pending+info.Active+info.Scheduled+info.Retry == 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	working := time.Since(time.UnixMicro(p.first.Load()))
	fmt.Printf("{\"working_seconds\":%.3f,\"tasks\":%d,\"coalesced\":%d}\n", working.Seconds(), p.enqueued.Load(), p.coalesced.Load())
	server.Shutdown()
	return nil
}

func (p *peer) table(kind string) string { return p.round + "_" + kind }

// consume reads until `records` are handled, each partition on its own.
func (p *peer) consume(brokers string, records int64) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(brokers, ",")...), kgo.ConsumerGroup(p.round),
		kgo.ConsumeTopics("shop.shop.orders", "shop.shop.order_item", "shop.shop.payment", "shop.shop.refund", "shop.shop.product"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.AutoCommitMarks(), kgo.FetchMaxWait(50*time.Millisecond))
	if err != nil {
		return err
	}
	defer client.Close()
	lanes, failed := map[string]chan []*kgo.Record{}, make(chan error, 1)
	work := func(in chan []*kgo.Record) {
		for batch := range in {
			if err := p.handle(batch); err != nil {
				select {
				case failed <- err:
				default:
				}
				return
			}
			client.MarkCommitRecords(batch...)
			p.consumed.Add(int64(len(batch)))
		}
	}
	for p.consumed.Load() < records {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		fetches := client.PollRecords(ctx, 20_000)
		cancel()
		select {
		case err := <-failed:
			return err
		default:
		}
		fetches.EachPartition(func(part kgo.FetchTopicPartition) {
			if len(part.Records) == 0 {
				return
			}
			p.first.CompareAndSwap(0, time.Now().UnixMicro())
			name := part.Topic + strconv.Itoa(int(part.Partition))
			if lanes[name] == nil {
				lanes[name] = make(chan []*kgo.Record, 8)
				go work(lanes[name])
			}
			for records := part.Records; len(records) > 0; {
				count := min(recordsAtOnce, len(records))
				lanes[name] <- records[:count]
				records = records[count:]
			}
		})
	}
	return nil
}

// handle puts, then raises the counters, then enqueues: a document at a version holds all changes up to it.
func (p *peer) handle(records []*kgo.Record) error {
	var all []change
	for _, record := range records {
		found, err := changes(record.Value, record.Offset)
		if err != nil {
			return err
		}
		all = append(all, found...)
	}
	actions := make([]*action, 0, len(all))
	for _, c := range all {
		actions = append(actions, put(p.table(c.kind), c.row, "cf", c.cells))
	}
	if err := together(p.puts, actions); err != nil {
		return err
	}
	actions = actions[:0]
	for _, c := range all {
		actions = append(actions, increment(p.table(c.kind), c.row, "m", "v"))
	}
	if err := together(p.puts, actions); err != nil {
		return err
	}
	var group sync.WaitGroup
	var failed atomic.Pointer[error]
	slots := make(chan struct{}, enqueuesAtOnce)
	for _, c := range all {
		slots <- struct{}{}
		group.Add(1)
		go func() {
			defer func() { <-slots; group.Done() }()
			task := asynq.NewTask(c.kind, []byte(c.row))
			_, err := p.tasks.Enqueue(task, asynq.Queue(p.round), asynq.Unique(lockFor), asynq.MaxRetry(25))
			switch {
			case errors.Is(err, asynq.ErrDuplicateTask):
				p.coalesced.Add(1)
			case err != nil:
				failed.Store(&err)
			default:
				p.enqueued.Add(1)
			}
		}()
	}
	group.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

func together(b *batcher[*action], actions []*action) error {
	for _, a := range actions {
		b.in <- a
	}
	for _, a := range actions {
		if <-a.done; a.err != nil {
			return a.err
		}
	}
	return nil
}

// deliver reads the row as it is now and writes its document.
func (p *peer) deliver(kind, row string) error {
	read := get(p.table(kind), row)
	p.gets.in <- read
	if <-read.done; read.err != nil {
		return read.err
	}
	w := &write{id: row[strings.IndexByte(row, ':')+1:], done: make(chan struct{})}
	data := read.cells[:0:0]
	for _, c := range read.cells {
		if c.qualifier == "v" {
			w.version = int64(binary.BigEndian.Uint64(c.value))
		} else {
			data = append(data, c)
		}
	}
	if kind == "order" {
		w.document = orderDocument(data)
		p.bulks.in <- w
	} else {
		w.document = productDocument(data)
		p.hashes.in <- w
	}
	<-w.done
	return w.err
}

func (p *peer) bulk(writes []*write) {
	var body bytes.Buffer
	for _, w := range writes {
		verb := "index"
		if w.document == nil {
			verb = "delete"
		}
		fmt.Fprintf(&body, "{\"%s\":{\"_id\":%q,\"version\":%d,\"version_type\":\"external_gte\"}}\n", verb, w.id, w.version)
		if w.document != nil {
			body.Write(w.document)
			body.WriteByte('\n')
		}
	}
	url := p.search + "/" + p.round + "-orders/_bulk?filter_path=items.*.status,items.*.error.type"
	answer, err := p.http.Post(url, "application/x-ndjson", &body)
	var found struct {
		Items []map[string]struct{ Status int } `json:"items"`
	}
	if err == nil {
		var text []byte
		text, err = io.ReadAll(answer.Body)
		answer.Body.Close()
		if err == nil {
			err = json.Unmarshal(text, &found)
		}
		if err == nil && len(found.Items) != len(writes) {
			err = fmt.Errorf("search answered %s: %.300s", answer.Status, text)
		}
	}
	for at, w := range writes {
		w.err = err
		if err == nil {
			for _, item := range found.Items[at] {
				// 409: a newer version is there already; 404: nothing to delete.
				if item.Status >= 300 && item.Status != 409 && item.Status != 404 {
					w.err = fmt.Errorf("search answered %d", item.Status)
				}
			}
		}
		close(w.done)
	}
}

var compareAndSet = redis.NewScript(`for i = 1, #KEYS do
  local v, d = ARGV[i * 2 - 1], ARGV[i * 2]
  local held = redis.call('HGET', KEYS[i], 'v')
  if not held or tonumber(held) <= tonumber(v) then
    redis.call('HSET', KEYS[i], 'v', v)
    if d == '' then redis.call('HDEL', KEYS[i], 'd') else redis.call('HSET', KEYS[i], 'd', d) end
  end
end`)

func (p *peer) store(writes []*write) {
	keys, values := make([]string, 0, len(writes)), make([]any, 0, len(writes)*2)
	for _, w := range writes {
		keys = append(keys, p.round+":product:"+w.id)
		values = append(values, w.version, string(w.document))
	}
	err := compareAndSet.Run(context.Background(), p.redis, keys, values...).Err()
	if errors.Is(err, redis.Nil) {
		err = nil
	}
	for _, w := range writes {
		w.err = err
		close(w.done)
	}
}
