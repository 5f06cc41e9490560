package webhook

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// registryEvent is how a plain registry tells of an action (CNCF Distribution, "Work with notifications"). Azure's registry
// sends the same.
type registryEvent struct {
	ID     string `json:"id"`
	At     string `json:"timestamp"`
	Action string `json:"action"`
	Target struct {
		MediaType  string `json:"mediaType"`
		Digest     string `json:"digest"`
		Repository string `json:"repository"`
		Tag        string `json:"tag"`
		URL        string `json:"url"`
	} `json:"target"`
	Request struct {
		Host string `json:"host"`
	} `json:"request"`
}

// pushes is the image, or none when the event is not about the push of one: layers are pushed, too.
func (e registryEvent) pushes() ([]push, error) {
	t := e.Target
	if e.Action != "push" || t.Tag == "" && !strings.Contains(t.MediaType, "manifest") && !strings.Contains(t.MediaType, "image.index") {
		return nil, nil
	}
	if t.Repository == "" {
		return nil, errRepository
	}
	registry := host(e.Request.Host)
	if registry == "" {
		registry = host(t.URL)
	}
	return []push{{registry: registry, repository: t.Repository, tag: t.Tag, digest: t.Digest, at: stamp(e.At)}}, nil
}

func parseDistribution(d delivery) (said, error) {
	var body struct {
		Events list[registryEvent] `json:"events"`
	}
	if err := decode(d.body, &body); err != nil {
		return said{}, err
	}
	if body.Events == nil {
		return said{}, errors.New("the body has no events")
	}
	var all said
	var ids []string
	for _, e := range body.Events {
		pushes, err := e.pushes()
		if err != nil {
			return said{}, err
		}
		if len(pushes) > 0 {
			ids = append(ids, e.ID)
			all.pushes = append(all.pushes, pushes...)
		}
	}
	all.id = strings.Join(ids, " ")
	return all, nil
}

func parseACR(d delivery) (said, error) {
	var e registryEvent
	if err := decode(d.body, &e); err != nil {
		return said{}, err
	}
	if e.Action == "" {
		return said{}, errors.New("the body has no action")
	}
	pushes, err := e.pushes()
	return said{id: e.ID, pushes: pushes}, err
}

// cloudEvent is one of CloudEvents 1.0, or one of EventBridge's own, which nothing has made a CloudEvent of yet.
type cloudEvent struct {
	SpecVersion string          `json:"specversion"`
	ID          string          `json:"id"`
	Source      string          `json:"source"`
	Type        string          `json:"type"`
	Subject     string          `json:"subject"`
	Time        string          `json:"time"`
	Data        json.RawMessage `json:"data"`

	DetailType string          `json:"detail-type"`
	Account    string          `json:"account"`
	Region     string          `json:"region"`
	Detail     json.RawMessage `json:"detail"`
}

// parseCloudEvents reads an event in the body, several, or one whose attributes are in the header (CloudEvents, HTTP protocol
// binding, section 3).
func parseCloudEvents(d delivery) (said, error) {
	var events list[cloudEvent]
	switch attribute := d.header.Get; {
	case attribute("Ce-Specversion") != "":
		events = []cloudEvent{{SpecVersion: attribute("Ce-Specversion"), ID: attribute("Ce-Id"), Source: attribute("Ce-Source"),
			Type: attribute("Ce-Type"), Subject: attribute("Ce-Subject"), Time: attribute("Ce-Time"), Data: d.body}}
	case bytes.HasPrefix(bytes.TrimSpace(d.body), []byte("[")):
		if err := decode(d.body, &events); err != nil {
			return said{}, err
		}
	default:
		events = make([]cloudEvent, 1)
		if err := decode(d.body, &events[0]); err != nil {
			return said{}, err
		}
	}
	var all said
	var ids []string
	for _, e := range events {
		pushes, err := e.pushes()
		if err != nil {
			return said{}, err
		}
		if len(pushes) > 0 {
			ids = append(ids, e.Source, e.ID)
			all.pushes = append(all.pushes, pushes...)
		}
		if len(all.pushes) > maxListed {
			return said{}, errLong
		}
	}
	all.id = strings.Join(ids, " ")
	return all, nil
}

func (e cloudEvent) pushes() ([]push, error) {
	kind, at := strings.ToLower(e.Type), stamp(e.Time)
	switch {
	case e.DetailType == "ECR Image Action":
		return e.bridged(at)
	case e.SpecVersion == "" || e.Type == "":
		return nil, errors.New("it is no CloudEvent: it has no specversion or no type")
	case strings.Contains(kind, "delete") || strings.Contains(kind, "pulled"):
		return nil, nil
	case kind == "harbor.artifact.pushed":
		var data harborData
		if err := decode(e.Data, &data); err != nil {
			return nil, err
		}
		return data.pushes(at)
	case kind == "microsoft.containerregistry.imagepushed":
		var data registryEvent
		if err := decode(e.Data, &data); err != nil {
			return nil, err
		}
		return data.pushes()
	case strings.HasPrefix(kind, "com.amazon.ecr."), strings.Contains(kind, "image"), strings.Contains(kind, "container"):
		return e.named(at)
	}
	return nil, nil
}

// named reads an event whose data names the image: what EventBridge is told to make of ECR's, and what others send.
func (e cloudEvent) named(at time.Time) ([]push, error) {
	var data struct {
		RepositoryName string `json:"repositoryName"`
		Repository     string `json:"repository"`
		ImageTag       string `json:"imageTag"`
		Tag            string `json:"tag"`
		ImageDigest    string `json:"imageDigest"`
		Digest         string `json:"digest"`
		RegistryURL    string `json:"registryUrl"`
		Registry       string `json:"registry"`
		RegistryID     string `json:"registryId"`
	}
	if err := decode(e.Data, &data); err != nil {
		return nil, err
	}
	repository, tag, _ := strings.Cut(e.Subject, ":")
	it := push{
		registry:   host(cmp.Or(data.RegistryURL, data.Registry)),
		repository: cmp.Or(data.RepositoryName, data.Repository, repository),
		tag:        cmp.Or(data.ImageTag, data.Tag, tag),
		digest:     cmp.Or(data.ImageDigest, data.Digest),
		at:         at,
	}
	if it.repository == "" {
		return nil, errRepository
	}
	if arn := strings.Split(e.Source, ":"); it.registry == "" && len(arn) > 4 && arn[2] == "ecr" {
		it.registry = ecr(cmp.Or(data.RegistryID, arn[4]), arn[3])
	}
	if it.registry == "" {
		it.registry = host(e.Source)
	}
	return []push{it}, nil
}

// bridged reads an event of ECR as EventBridge has it.
func (e cloudEvent) bridged(at time.Time) ([]push, error) {
	var detail struct {
		Result     string `json:"result"`
		Action     string `json:"action-type"`
		Repository string `json:"repository-name"`
		Tag        string `json:"image-tag"`
		Digest     string `json:"image-digest"`
	}
	if err := decode(e.Detail, &detail); err != nil {
		return nil, err
	}
	if detail.Action != "PUSH" || detail.Result != "SUCCESS" {
		return nil, nil
	}
	if detail.Repository == "" {
		return nil, errRepository
	}
	return []push{{registry: ecr(e.Account, e.Region), repository: detail.Repository, tag: detail.Tag, digest: detail.Digest, at: at}}, nil
}

// ecr is the host of an account's registry in a region.
func ecr(account, region string) string {
	registry := account + ".dkr.ecr." + region + ".amazonaws.com"
	if strings.HasPrefix(region, "cn-") {
		registry += ".cn"
	}
	return registry
}
