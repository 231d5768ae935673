// kstatus reads Kubernetes objects, a JSON document each, and writes what kstatus computes of each: one line of JSON.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// answer is what a tool that waits by kstatus is given.
type answer struct {
	Name    string `json:"name"`
	Status  string `json:"status"`
	Message string `json:"message"`
}

func main() {
	if len(os.Args) > 1 {
		fmt.Println("kstatus of cli-utils 1.2.3")
		return
	}
	if err := compute(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func compute(in io.Reader, out io.Writer) error {
	documents, answers := json.NewDecoder(bufio.NewReader(in)), json.NewEncoder(out)
	for {
		var document json.RawMessage
		if err := documents.Decode(&document); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		read := &unstructured.Unstructured{}
		if err := read.UnmarshalJSON(document); err != nil {
			return err
		}
		found, err := status.Compute(read)
		if err != nil {
			return err
		}
		if err := answers.Encode(answer{read.GetName(), found.Status.String(), found.Message}); err != nil {
			return err
		}
	}
}
