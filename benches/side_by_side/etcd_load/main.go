// Loads etcd as its own load tool does: so many connections, so many goroutines in a closed loop,
// random keys of a key space. Prints one JSON object.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/etcd/clientv3"
)

type measured struct {
	micros []int
	failed int
	last   string
}

func key(number int) string { return fmt.Sprintf("%08d", number) }

func fail(err error) {
	fmt.Fprintln(os.Stderr, "etcd_load:", err)
	os.Exit(1)
}

func connect(endpoints []string, count int) []*clientv3.Client {
	clients := make([]*clientv3.Client, count)
	for i := range clients {
		client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 5 * time.Second})
		if err != nil {
			fail(err)
		}
		clients[i] = client
	}
	return clients
}

func cpuSeconds() float64 {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		fail(err)
	}
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return seconds(use.Utime) + seconds(use.Stime)
}

// load runs one closed loop until the end, and keeps what was sent behind the warm-up.
func load(client *clientv3.Client, operation, value string, keys int, random *rand.Rand, from, until time.Time) measured {
	var out measured
	for {
		sent := time.Now()
		if !sent.Before(until) {
			return out
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		var err error
		if operation == "put" {
			_, err = client.Put(ctx, key(random.Intn(keys)), value)
		} else {
			_, err = client.Get(ctx, key(random.Intn(keys)))
		}
		cancel()
		if sent.Before(from) {
			continue
		}
		if err != nil {
			out.failed++
			out.last = err.Error()
			continue
		}
		out.micros = append(out.micros, int(time.Since(sent).Microseconds()))
	}
}

func fill(clients []*clientv3.Client, keys int, value string) {
	var group sync.WaitGroup
	for worker := 0; worker < 64; worker++ {
		group.Add(1)
		go func(worker int) {
			defer group.Done()
			for number := worker; number < keys; number += 64 {
				if _, err := clients[worker%len(clients)].Put(context.Background(), key(number), value); err != nil {
					fail(err)
				}
			}
		}(worker)
	}
	group.Wait()
}

func main() {
	operation := flag.String("operation", "put", "put or get (linearizable)")
	endpoints := flag.String("endpoints", "127.0.0.1:2379", "addresses, separated by commas")
	connections := flag.Int("clients", 1, "connections")
	outstanding := flag.Int("outstanding", 1, "requests under way, over all connections")
	valueBytes := flag.Int("value-bytes", 256, "bytes of a value")
	keys := flag.Int("keys", 10000, "keys, of 8 bytes")
	seconds := flag.Int("seconds", 5, "how long to measure")
	warmUp := flag.Int("warm-up", 1, "seconds before that")
	filled := flag.Bool("fill", true, "write all keys first, where they are read")
	flag.Parse()
	clients := connect(strings.Split(*endpoints, ","), *connections)
	random := rand.New(rand.NewSource(7))
	bytes := make([]byte, *valueBytes)
	for i := range bytes {
		bytes[i] = byte(random.Intn(256))
	}
	value := string(bytes)
	if *operation == "get" && *filled {
		fill(clients, *keys, value)
	}
	from := time.Now().Add(time.Duration(*warmUp) * time.Second)
	until := from.Add(time.Duration(*seconds) * time.Second)
	cpu := cpuSeconds()
	all := make([]measured, *outstanding)
	var group sync.WaitGroup
	for i := range all {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			random := rand.New(rand.NewSource(int64(i) + 1))
			all[i] = load(clients[i%len(clients)], *operation, value, *keys, random, from, until)
		}(i)
	}
	group.Wait()
	cpu = cpuSeconds() - cpu
	var micros []int
	failed, last := 0, ""
	for _, one := range all {
		micros = append(micros, one.micros...)
		failed += one.failed
		if one.last != "" {
			last = one.last
		}
	}
	sort.Ints(micros)
	at := func(share float64) float64 {
		if len(micros) == 0 {
			return 0
		}
		place := int(float64(len(micros)) * share)
		if place >= len(micros) {
			place = len(micros) - 1
		}
		return float64(micros[place]) / 1e3
	}
	out := map[string]interface{}{
		"operation": *operation, "clients": *connections, "outstanding": *outstanding,
		"value_bytes": *valueBytes, "seconds": *seconds, "completed": len(micros), "failed": failed,
		"last_error": last, "per_second": float64(len(micros)) / float64(*seconds),
		"latency_ms": map[string]float64{"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p999": at(0.999), "max": at(1)},
		"generator":  map[string]float64{"cpu_seconds": cpu},
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		fail(err)
	}
}
