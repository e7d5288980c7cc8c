// SPDX-License-Identifier: MIT
// The Go runtime's rows of tests/e2e/threaded.py: eight goroutines that hash, with channels, timers
// and a collector. Prints the same at one scale always.
package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

type item struct {
	number int
	digest string
}

func work(n int) string {
	seen := map[int]int{}
	var text strings.Builder
	for j := 0; j < 6000; j++ {
		key := (n*7919 + j*104729) % 3001
		seen[key] += j
		if j%10 == 0 {
			fmt.Fprintf(&text, "%d:%d ", key, seen[key])
		}
	}
	sum := sha256.Sum256([]byte(text.String()))
	for i := 0; i < 300; i++ {
		sum = sha256.Sum256(sum[:])
	}
	return fmt.Sprintf("%x %d", sum, through(len(seen)))
}

func main() {
	scale, _ := strconv.Atoi(os.Args[1])
	log, err := os.Create("log.txt")
	if err != nil {
		panic(err)
	}
	numbers, results := make(chan int), make(chan item, 16)
	var workers sync.WaitGroup
	for i := 0; i < 8; i++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for n := range numbers {
				results <- item{n, work(n)}
			}
		}()
	}
	ticker := time.NewTicker(3 * time.Millisecond)
	ticks, quiet := 0, make(chan bool)
	go func() {
		for {
			select {
			case <-ticker.C:
				ticks++
			case <-quiet:
				quiet <- true
				return
			}
		}
	}()
	go func() {
		for n := 0; n < scale; n++ {
			numbers <- n
		}
		close(numbers)
		workers.Wait()
		close(results)
	}()
	next, waiting := 0, map[int]string{}
	for result := range results {
		waiting[result.number] = result.digest
		for digest, there := waiting[next]; there; digest, there = waiting[next] {
			fmt.Println(next, digest)
			if next%20 == 0 {
				fmt.Fprintln(log, next)
			}
			delete(waiting, next)
			next++
		}
	}
	quiet <- true
	<-quiet
	if ticks == 0 {
		fmt.Println("no tick")
	}
	log.Close()
	os.Exit(9)
}
