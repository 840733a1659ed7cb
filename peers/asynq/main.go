// Package main drives stock Go asynq against a Redis, for tests and figures of widerow's queue.
//
//	asynqpeer ADDR enqueue QUEUE TYPE N          N tasks {"row":"g<i>"}, ids chosen by asynq
//	asynqpeer ADDR work QUEUE N [FAILS] [TYPE]   works until N tasks succeeded; the first FAILS runs fail; prints a line a run
//	asynqpeer ADDR inspect QUEUE                 the inspector's picture as JSON
//	asynqpeer ADDR run QUEUE ID                  runs an archived task again, as the web page does
//	asynqpeer ADDR archive QUEUE ID              archives a waiting task
//	asynqpeer ADDR pause|unpause QUEUE
//	asynqpeer ADDR bench QUEUE N [unique]        enqueues N tasks, works them, prints seconds of both; unique: under locks
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 3 {
		return errors.New("usage: asynqpeer ADDR VERB QUEUE …")
	}
	redis := asynq.RedisClientOpt{Addr: args[0]}
	verb, queue, rest := args[1], args[2], args[3:]
	number := func(at int) int {
		if at >= len(rest) {
			return 0
		}
		n, _ := strconv.Atoi(rest[at])
		return n
	}
	switch verb {
	case "enqueue":
		return enqueue(redis, queue, rest[0], number(1))
	case "work":
		return work(redis, queue, number(0), number(1))
	case "inspect":
		return inspect(redis, queue)
	case "bench":
		return bench(redis, queue, number(0), len(rest) > 1 && rest[1] == "unique")
	}
	inspector := asynq.NewInspector(redis)
	defer inspector.Close()
	switch verb {
	case "run":
		return inspector.RunTask(queue, rest[0])
	case "archive":
		return inspector.ArchiveTask(queue, rest[0])
	case "pause":
		return inspector.PauseQueue(queue)
	case "unpause":
		return inspector.UnpauseQueue(queue)
	}
	return fmt.Errorf("unknown verb %q", verb)
}

func task(kind string, row int) *asynq.Task {
	payload, _ := json.Marshal(map[string]string{"row": "g" + strconv.Itoa(row)})
	return asynq.NewTask(kind, payload)
}

func enqueue(redis asynq.RedisClientOpt, queue, kind string, n int) error {
	client := asynq.NewClient(redis)
	defer client.Close()
	for i := 0; i < n; i++ {
		if _, err := client.Enqueue(task(kind, i), asynq.Queue(queue)); err != nil {
			return err
		}
	}
	return nil
}

func work(redis asynq.RedisClientOpt, queue string, n, fails int) error {
	server := asynq.NewServer(redis, asynq.Config{
		Concurrency:              4,
		Queues:                   map[string]int{queue: 1},
		LogLevel:                 asynq.ErrorLevel,
		RetryDelayFunc:           func(int, error, *asynq.Task) time.Duration { return 0 },
		DelayedTaskCheckInterval: 100 * time.Millisecond,
	})
	var mu sync.Mutex
	left, failing, done := n, fails, make(chan struct{})
	handler := func(ctx context.Context, t *asynq.Task) error {
		mu.Lock()
		defer mu.Unlock()
		id, _ := asynq.GetTaskID(ctx)
		retried, _ := asynq.GetRetryCount(ctx)
		line, _ := json.Marshal(map[string]any{"id": id, "type": t.Type(), "payload": string(t.Payload()),
			"types": t.Headers()["types"], "retried": retried, "failed": failing > 0})
		fmt.Println(string(line))
		if failing > 0 {
			failing--
			return errors.New("no luck")
		}
		if left--; left == 0 {
			close(done)
		}
		return nil
	}
	if err := server.Start(asynq.HandlerFunc(handler)); err != nil {
		return err
	}
	select {
	case <-done:
	case <-time.After(60 * time.Second):
		server.Shutdown()
		return fmt.Errorf("%d tasks did not come", left)
	}
	server.Shutdown()
	return nil
}

func inspect(redis asynq.RedisClientOpt, queue string) error {
	inspector := asynq.NewInspector(redis)
	defer inspector.Close()
	queues, err := inspector.Queues()
	if err != nil {
		return err
	}
	info, err := inspector.GetQueueInfo(queue)
	if err != nil {
		return err
	}
	lists := map[string]func(string, ...asynq.ListOption) ([]*asynq.TaskInfo, error){
		"pending": inspector.ListPendingTasks, "active": inspector.ListActiveTasks, "scheduled": inspector.ListScheduledTasks,
		"retry": inspector.ListRetryTasks, "archived": inspector.ListArchivedTasks,
	}
	tasks := map[string][]map[string]any{}
	for state, list := range lists {
		rows, err := list(queue)
		if err != nil {
			return fmt.Errorf("%s: %w", state, err)
		}
		tasks[state] = []map[string]any{}
		for _, t := range rows {
			tasks[state] = append(tasks[state], map[string]any{"id": t.ID, "type": t.Type, "payload": string(t.Payload), "queue": t.Queue,
				"max_retry": t.MaxRetry, "retried": t.Retried, "last_err": t.LastErr, "timeout": t.Timeout.Seconds(), "orphaned": t.IsOrphaned})
		}
	}
	servers, err := inspector.Servers()
	if err != nil {
		return err
	}
	entries := []map[string]any{}
	for _, s := range servers {
		workers := []map[string]any{}
		for _, w := range s.ActiveWorkers {
			workers = append(workers, map[string]any{"id": w.TaskID, "type": w.TaskType, "payload": string(w.TaskPayload), "queue": w.Queue})
		}
		entries = append(entries, map[string]any{"host": s.Host, "pid": s.PID, "status": s.Status, "queues": s.Queues, "workers": workers})
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"queues": queues, "size": info.Size, "pending": info.Pending,
		"active": info.Active, "scheduled": info.Scheduled, "retry": info.Retry, "archived": info.Archived, "processed": info.Processed,
		"failed": info.Failed, "processed_total": info.ProcessedTotal, "paused": info.Paused, "latency_ms": info.Latency.Milliseconds(),
		"memory": info.MemoryUsage, "tasks": tasks, "servers": entries})
}

func bench(redis asynq.RedisClientOpt, queue string, n int, unique bool) error {
	options := []asynq.Option{asynq.Queue(queue)}
	if unique {
		options = append(options, asynq.Unique(time.Hour))
	}
	client := asynq.NewClient(redis)
	defer client.Close()
	began := time.Now()
	var enqueuing sync.WaitGroup
	const senders = 16
	for s := 0; s < senders; s++ {
		enqueuing.Add(1)
		go func() {
			defer enqueuing.Done()
			for i := s; i < n; i += senders {
				if _, err := client.Enqueue(task("bench", i), options...); err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
			}
		}()
	}
	enqueuing.Wait()
	offered := time.Since(began)
	server := asynq.NewServer(redis, asynq.Config{Concurrency: 64, Queues: map[string]int{queue: 1}, LogLevel: asynq.ErrorLevel})
	var count atomic.Int64
	done := make(chan struct{})
	began = time.Now()
	err := server.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error {
		if count.Add(1) == int64(n) {
			close(done)
		}
		return nil
	}))
	if err != nil {
		return err
	}
	<-done
	worked := time.Since(began)
	server.Shutdown()
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"offered_s": offered.Seconds(), "worked_s": worked.Seconds(), "jobs": n})
}
