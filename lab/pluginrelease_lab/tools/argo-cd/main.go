// argohealth runs scripts of an argocd-cm on objects, by Argo CD's own code: their health, their actions, and what an
// action writes.
//
//	argohealth ask          what Argo CD says of each object
//	argohealth run ACTION [NAME=VALUE]   the only object after an action
//
// Stdin is one JSON document: {"health": a script, "actions": the value of the key for actions, "objects": [...]}.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/argoproj/argo-cd/gitops-engine/v3/pkg/health"
	application "github.com/argoproj/argo-cd/v3/pkg/apiclient/application"
	argo "github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const version = "3.6.1"

type request struct {
	Health  string                       `json:"health"`
	Actions string                       `json:"actions"`
	Objects []*unstructured.Unstructured `json:"objects"`
}

type answer struct {
	Health  *health.HealthStatus  `json:"health"`
	Actions []argo.ResourceAction `json:"actions"`
}

func main() {
	if len(os.Args) < 2 {
		end(fmt.Errorf("usage: argohealth ask | run ACTION [NAME=VALUE] | --version"))
	}
	if os.Args[1] == "--version" {
		fmt.Println("argohealth " + version)
		return
	}
	var asked request
	check(json.NewDecoder(os.Stdin).Decode(&asked))
	var found any
	var err error
	if os.Args[1] == "run" {
		found, err = run(asked, os.Args[2], os.Args[3:])
	} else {
		found, err = ask(asked)
	}
	check(err)
	check(json.NewEncoder(os.Stdout).Encode(found))
}

func (r request) overrides(about *unstructured.Unstructured) map[string]argo.ResourceOverride {
	return map[string]argo.ResourceOverride{
		lua.GetConfigMapKey(about.GroupVersionKind()): {HealthLua: r.Health, Actions: r.Actions},
	}
}

func ask(asked request) ([]answer, error) {
	answers := []answer{}
	for _, about := range asked.Objects {
		overrides := asked.overrides(about)
		status, err := health.GetResourceHealth(about, lua.ResourceHealthOverrides(overrides))
		if err != nil {
			return nil, err
		}
		vm := lua.VM{ResourceOverrides: overrides}
		scripts, err := vm.GetResourceActionDiscovery(about)
		if err != nil {
			return nil, err
		}
		actions, err := vm.ExecuteResourceActionDiscovery(about, scripts)
		if err != nil {
			return nil, err
		}
		answers = append(answers, answer{status, actions})
	}
	return answers, nil
}

func run(asked request, name string, parameters []string) (any, error) {
	about := asked.Objects[0]
	vm := lua.VM{ResourceOverrides: asked.overrides(about)}
	action, err := vm.GetResourceAction(about, name)
	if err != nil {
		return nil, err
	}
	given := []*application.ResourceActionParameters{}
	for _, parameter := range parameters {
		key, value, _ := strings.Cut(parameter, "=")
		given = append(given, &application.ResourceActionParameters{Name: &key, Value: &value})
	}
	impacted, err := vm.ExecuteResourceAction(about, action.ActionLua, given)
	if err != nil {
		return nil, err
	}
	if len(impacted) != 1 || impacted[0].K8SOperation != lua.PatchOperation {
		return nil, fmt.Errorf("the action does not patch exactly its own object")
	}
	return impacted[0].UnstructuredObj, nil
}

func check(err error) {
	if err != nil {
		end(err)
	}
}

func end(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
